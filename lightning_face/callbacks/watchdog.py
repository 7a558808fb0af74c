"""A run in which nothing goes on ends, and says where it stands."""

from contextlib import AbstractContextManager
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_face import watchdog
from lightning_face.errors import ConfigError


class Watchdog(Callback):
    """Ends a rank in which nothing goes on: no batch, no file of a checkpoint, no other rank that it waits for.

    Args:
        stall_minutes: after which it writes the stacks of its threads to its log and ends; longer than anything that a
            run does between two batches takes; 0 for never.
    """

    def __init__(self, stall_minutes: float = 15.0) -> None:
        if stall_minutes < 0:
            raise ConfigError(f"watchdog.stall_minutes must not be negative, got {stall_minutes}; 0 switches it off")
        self.stall_minutes = stall_minutes

    def watching(self) -> AbstractContextManager[None]:
        """For what a command does, from before ranks meet."""
        return watchdog.watching(self.stall_minutes, getattr(rank_zero_only, "rank", 0))

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Something goes on."""
        watchdog.alive()

    setup = on_train_start = on_train_end = on_train_batch_end = on_train_batch_start
    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_start
    on_validation_start = on_validation_end = on_train_batch_start
