"""Runs through Lightning's trainer on this rank, under any engine, objective and precision."""

import signal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import deepspeed
import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lightning_face import signals
from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.callbacks.non_finite import Action, NonFinite
from lightning_face.callbacks.preemption import Preemption
from lightning_face.checkpoint.directory import DENSE_FILE, checkpoints_of, name_of
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.distributed.world import world_size
from lightning_face.engines.choice import held_weights
from lightning_face.engines.zero import ZeroStrategy
from lightning_face.errors import PreemptedError
from lightning_face.models import BackboneConfig
from lightning_face.module import FaceModule
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.optim.schedules import Schedule
from lightning_face.trainer import FaceTrainer
from tests.ranks import run_ranks, torchrun

NUM_STEPS, ACCUMULATION, GLOBAL_BATCH = 5, 2, 24
CLIP_NORM, LEARNING_RATE = 0.5, 0.2
AVERAGE_DECAY = 0.2  # less than the warm-up of the average asks for at first, more than at the end
SCHEDULE = Schedule(warmup_steps=1)  # the rate differs from step to step
RESUMED_AT = 2
"""Steps before the checkpoint that runs go on from: in the middle of an epoch, which has 8."""


class Run(NamedTuple):
    """How to train.

    Args:
        resume: the step to go on from.
        stopped_after: the step after which a signal stops the run, which then goes on from there.
        broken: steps at which a sample is not a number.
    """

    objective: ObjectiveConfig
    engine: str = "ddp"
    precision: str = "32-true"
    resume: int | None = None
    stopped_after: int | None = None
    backbone: BackboneConfig = BackboneConfig("test_convnext", embedding_dim=16, neck="linear")
    broken: tuple[int, ...] = ()
    action: Action = "stop"
    at_most: int = 10


class Break(Callback):
    """Breaks the last sample of some steps, on the rank that has it."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        is_last = trainer.global_rank == trainer.world_size - 1 and batch_idx % ACCUMULATION == ACCUMULATION - 1
        if is_last and trainer.global_step in self.steps:
            batch[1][-1] = float("nan")


class Signalled(Callback):
    """The last rank notices a signal in a step; all know it a step later."""

    def __init__(self, stopped_after: int | None) -> None:
        self.stopped_after = stopped_after

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        is_last = trainer.global_rank == trainer.world_size - 1
        if self.stopped_after is not None and is_last and trainer.global_step == self.stopped_after - 2:
            signals._remember(signal.SIGTERM, None)


class Watch(Callback):
    """What a run shows only on its way."""

    def __init__(self) -> None:
        self.start: dict[str, dict[str, Tensor]] = {}
        self.norms: list[float] = []
        self.losses: list[float] = []
        self.features: set[torch.dtype] = set()
        self.rates: list[float] = []
        self.states: dict[int, dict[str, dict[str, Tensor]]] = {}
        """Everything that moves, as it is when a step begins."""

    def on_train_start(self, trainer: Any, pl_module: FaceModule) -> None:
        self.start = all_numbers(pl_module)
        pl_module.backbone.register_forward_hook(lambda *call: self.features.add(call[-1].dtype))

    def on_train_batch_start(self, trainer: Any, pl_module: FaceModule, batch: Any, batch_idx: int) -> None:
        if batch_idx % ACCUMULATION == 0 and not isinstance(trainer.strategy, ZeroStrategy):
            moments = trainer.strategy.optimizer_state(trainer.optimizers[0])["state"]
            named = {f"{number} {name}": value for number, of in moments.items() for name, value in of.items()}
            self.states[trainer.global_step] = all_numbers(pl_module) | {
                "optimizer": {name: value.clone() for name, value in named.items() if torch.is_tensor(value)}
            }
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_before_optimizer_step(self, trainer: Any, pl_module: FaceModule, optimizer: Any) -> None:
        """Norm of the whole gradient before it is clipped; DeepSpeed keeps it to itself."""
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.norms.append(float(norm.full_tensor() if isinstance(norm, DTensor) else norm))

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


def fit(dataset: Path, run_dir: Path, run: Run) -> dict[str, Any]:
    """Train on this rank."""
    with torchrun():
        if run.stopped_after is not None:
            saved = checkpoints_of(run_dir) / name_of(run.stopped_after)
            with patch.object(signals, "_first", 0), pytest.raises(PreemptedError, match=f"saved as {saved}"):
                _fit(dataset, run_dir, run)
            run = run._replace(stopped_after=None, resume=run.stopped_after)
        return _fit(dataset, run_dir, run)


def fit_each(dataset: Path, run_dir: Path, runs: dict[str, Run]) -> dict[str, dict[str, Any]]:
    """One run after the other in the same processes, which take longer to start than to train."""
    return {name: fit(dataset, run_dir / name, run) for name, run in runs.items()}


def make_data(dataset: Path) -> FaceDataModule:
    return FaceDataModule(str(dataset), global_batch_size=GLOBAL_BATCH, image_size=32, num_workers=0, seed=3)


def make_module(
    data: FaceDataModule,
    objective: ObjectiveConfig,
    backbone: BackboneConfig = Run._field_defaults["backbone"],
    average_decay: float | None = None,
) -> FaceModule:
    torch.manual_seed(11)
    module = FaceModule(
        data.num_classes,
        image_size=32,
        backbone=backbone,
        objective=objective,
        optimizer=partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4),
        schedule=SCHEDULE,
        seed=3,
        average_decay=average_decay,
    )
    for name, parameter in module.backbone.named_parameters():
        if name.endswith("gamma"):
            # Layer scale starts at 1e-6: most of the network would hardly train, and the test would not see it.
            torch.nn.init.ones_(parameter)
    return module


def _fit(dataset: Path, run_dir: Path, run: Run) -> dict[str, Any]:
    data = make_data(dataset)
    average_decay = None if run.engine.startswith("deepspeed") else AVERAGE_DECAY
    module = make_module(data, run.objective, run.backbone, average_decay)
    watch = Watch()
    trainer = FaceTrainer(
        accelerator="cpu",
        devices=world_size(),
        strategy=run.engine,
        precision=run.precision,
        plugins=[TorchElasticEnvironment()],
        max_steps=NUM_STEPS,
        accumulate_grad_batches=ACCUMULATION,
        gradient_clip_val=CLIP_NORM,
        callbacks=[
            Preemption(),
            watch,
            Signalled(run.stopped_after),
            Checkpointing(every_n_steps=RESUMED_AT, keep=9),
            NonFinite(run.action, run.at_most),
            Break(run.broken),
        ],
        default_root_dir=run_dir,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if run.engine == "deepspeed_stage_3":
        # By default it shares out large tensors only, which this network has none of.
        trainer.strategy.config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    checkpoint = None if run.resume is None else checkpoints_of(run_dir) / name_of(run.resume) / DENSE_FILE
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    assert trainer.global_step == NUM_STEPS
    assert trainer.world_size == world_size()
    return {
        **all_numbers(module),
        "start": watch.start,
        "norms": watch.norms,
        "losses": watch.losses,
        "rates": watch.rates,
        "states": watch.states,
        "features": watch.features,
        "weights": {held.dtype for held in held_weights(module.backbone)},
        "held": numbers_held(trainer, module),
        "shared": list(module.objective.held()),
    }


def all_numbers(module: FaceModule) -> dict[str, dict[str, Tensor]]:
    """Copies of all weights, wherever the engine keeps them, and of this rank's tables; every rank calls."""
    with deepspeed.zero.GatheredParameters(list(module.backbone.parameters())):
        backbone = _copies(module.backbone)
    averaged = {} if module.averaged is None else {"averaged": _copies(module.averaged)}
    return {
        "backbone": backbone,
        **averaged,
        "tables": {name: rows.clone() for name, rows in module.objective.state().items()},
    }


def _copies(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()
        for name, value in network.state_dict().items()
    }


def numbers_held(trainer: FaceTrainer, module: FaceModule) -> dict[str, int]:
    """How many numbers of the parameters, and of the momentum, this rank holds."""
    engine = trainer.strategy
    if isinstance(engine, ZeroStrategy) and engine.stage < 3:
        momentum = sum(part.numel() for part in engine.deepspeed_engine.optimizer.single_partition_of_fp32_groups)
    elif isinstance(engine, ZeroStrategy):
        momentum = sum(part.numel() for part in engine.deepspeed_engine.optimizer.fp32_partitioned_groups_flat)
    else:
        states = trainer.optimizers[0].state.values()
        momentum = sum(
            buffer.to_local().numel() if isinstance(buffer, DTensor) else buffer.numel()
            for buffer in (state["momentum_buffer"] for state in states)
        )
    parameters = sum(held.numel() for held in held_weights(module.backbone))
    return {"parameters": parameters, "momentum": momentum}


def run_engines(dataset: Path, run_dir: Path, runs: dict[str, Run]) -> dict[str, list[dict[str, Any]]]:
    """What two ranks end with, by the names of the runs.

    In new processes, as users resume; DeepSpeed keeps groups of processes, and would spoil them for others.
    """
    by_rank = run_ranks(fit_each, 2, dataset, run_dir, runs, timeout_s=240.0, fresh=True)
    return {name: [results[name] for results in by_rank] for name in runs}


def whole_tables(results: list[dict[str, Any]]) -> dict[str, Tensor]:
    """The tables of all ranks together."""
    return {
        name: torch.cat([result["tables"][name] for result in results]) if name in results[0]["shared"] else value
        for name, value in results[0]["tables"].items()
    }
