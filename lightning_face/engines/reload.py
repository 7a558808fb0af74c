"""Going back to a checkpoint in the middle of a run."""

from pathlib import Path

from pytorch_lightning.strategies import Strategy

from lightning_face.checkpoint.directory import DENSE_FILE
from lightning_face.checkpoint.failures import reading
from lightning_face.distributed.agreement import on_every_rank
from lightning_face.engines.fully_sharded import FullyShardedStrategy


def reload(strategy: Strategy, checkpoint: Path) -> None:
    """Load weights and the optimizers' state between two steps; learning rates stay. Every rank calls.

    Args:
        strategy: of DDP or FSDP2.
        checkpoint: its directory, whole.

    Raises:
        CheckpointError: on every rank, if one cannot read it.
    """
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in strategy.optimizers]

    def load() -> None:
        loaded = strategy.load_checkpoint(checkpoint / DENSE_FILE, weights_only=True)
        strategy.load_model_state_dict(loaded)
        strategy.load_optimizer_state_dict(loaded)

    if isinstance(strategy, FullyShardedStrategy):
        load()  # its ranks meet while they load
    else:
        on_every_rank(reading(checkpoint)(load))
    for optimizer, of_groups in zip(strategy.optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, of_groups, strict=True):
            group["lr"] = rate
