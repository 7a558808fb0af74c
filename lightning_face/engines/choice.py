"""Which engine trains the backbone, by the name that `trainer.strategy` takes."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lightning_face.checkpoint.directory import DENSE_FILE, Description
from lightning_face.engines.fully_sharded import FullyShardedStrategy
from lightning_face.engines.zero import ZeroOnCpuStrategy, ZeroStrategy, merged_weights
from lightning_face.errors import CheckpointError, ConfigError

ENGINES = ("ddp", "fsdp2", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3")


def make_strategy(engine: str, *, on_cpu: bool, mixed: bool) -> str | Strategy:
    """What Lightning's trainer takes for an engine.

    Args:
        engine: auto, or one of ENGINES.
        on_cpu: whether the run is to use CPUs.
        mixed: whether the precision is bf16-mixed; DeepSpeed asks, the others follow the trainer.

    Raises:
        ConfigError: another name.
    """
    if engine in ("auto", "ddp"):
        return engine
    if engine == "fsdp2":
        return FullyShardedStrategy()
    if engine in ENGINES:
        stage = int(engine[-1])
        kind = ZeroOnCpuStrategy if on_cpu else ZeroStrategy
        return kind(stage, mixed=mixed)
    raise ConfigError(f"trainer.strategy must be auto or one of {', '.join(ENGINES)}, got {engine}")


def engine_of(strategy: Strategy) -> str:
    """Name of the engine; a single device counts as ddp, whose checkpoints it shares.

    Raises:
        ConfigError: a strategy of another kind: its gradients or checkpoints would be wrong.
    """
    if isinstance(strategy, ZeroStrategy):
        return f"deepspeed_stage_{strategy.stage}"
    if isinstance(strategy, FullyShardedStrategy):
        return "fsdp2"
    if type(strategy) in (DDPStrategy, SingleDeviceStrategy):
        return "ddp"
    raise ConfigError(
        f"trainer.strategy {type(strategy).__name__} is not supported; it must be auto or one of {', '.join(ENGINES)}"
    )


def check_engine_serves(engine: str, options: dict[str, Any]) -> None:
    """Options of the trainer that an engine would pass over in silence, or refuse after ranks have started.

    Raises:
        ConfigError: one of them is set.
    """
    if options.get("sync_batchnorm") and engine != "ddp":
        raise ConfigError(
            f"trainer.sync_batchnorm has no effect with {engine}; leave it out, or set trainer.strategy to ddp"
        )
    if options.get("gradient_clip_algorithm") == "value" and engine.startswith("deepspeed"):
        raise ConfigError(
            f"trainer.gradient_clip_algorithm value does not work with {engine}, which clips by norm; leave it out, or"
            " set trainer.strategy to ddp or fsdp2"
        )


def check_engine_can_average(engine: str) -> None:
    """DeepSpeed wraps the module as a whole and would take a second network for one to be trained.

    Raises:
        ConfigError: the engine is DeepSpeed.
    """
    if engine.startswith("deepspeed"):
        raise ConfigError(
            f"model.average_decay does not work with {engine}; leave it out, or set trainer.strategy to ddp or fsdp2"
        )


def check_engine_can_load(checkpoint: Path, description: Description, engine: str, num_ranks: int) -> None:
    """DDP and FSDP2 load each other's checkpoints on any number of ranks; DeepSpeed only what it saved itself.

    Raises:
        CheckpointError: the engine, or the number of ranks, does not fit.
    """
    saved, now = (description.engine, description.num_ranks), (engine, num_ranks)
    if saved != now and any(name.startswith("deepspeed") for name in (description.engine, engine)):
        raise CheckpointError(
            f"{checkpoint} was saved by {saved[0]} on {saved[1]} ranks and cannot be loaded by {now[0]} on {now[1]}:"
            " DeepSpeed needs the same engine and number of ranks; ddp and fsdp2 do not"
        )


def whole_weights(checkpoint: Path, description: Description) -> dict[str, Tensor]:
    """Weights and buffers of a checkpoint by name, float32 on the CPU, whichever engine saved them."""
    path = checkpoint / DENSE_FILE
    if description.engine.startswith("deepspeed"):
        return merged_weights(path)
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", mmap=True, weights_only=True)["state_dict"]
    return weights


def held_gradients(module: nn.Module) -> list[Tensor]:
    """Gradients of what this rank holds of a module's parameters; ZeRO keeps its own to itself."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in gradients]


def held_weights(module: nn.Module) -> list[Tensor]:
    """What this rank holds of a module's parameters and buffers, under any engine."""
    tensors = [*module.parameters(), *module.buffers()]
    # FSDP2 leaves distributed tensors, ZeRO 3 empty ones with the own part beside them.
    return [t.to_local() if isinstance(t, DTensor) else getattr(t, "ds_tensor", t) for t in tensors]
