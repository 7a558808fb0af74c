"""The engine's part of a checkpoint, `dense.ckpt`, through Lightning; a rank that fails keeps no other waiting."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.trainer.connectors.checkpoint_connector import _CheckpointConnector
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_face.checkpoint.choice import choice_of_rank_zero
from lightning_face.checkpoint.directory import DENSE_FILE, partial_of
from lightning_face.checkpoint.failures import reading, writing
from lightning_face.distributed.agreement import on_every_rank
from lightning_face.engines.choice import engine_of
from lightning_face.errors import CheckpointError


class DensePart(_CheckpointConnector):
    """Lightning's connector, which saves and loads weights, optimizer and counters."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer)
        self.choose: Callable[[], Path | None] | None = None
        """Rank 0's choice of a checkpoint, in place of the one that Lightning was given."""
        self.chosen: Path | None = None
        """What was loaded."""

    @property
    def _engine(self) -> str:
        return engine_of(self.trainer.strategy)

    def dump(self, final: Path, weights_only: bool) -> dict[str, Any] | None:
        """What is to be written to `dense.ckpt`; every rank calls, and rank 0 writes.

        Args:
            final: directory of the checkpoint.
            weights_only: as in Lightning.

        Returns:
            Live tensors and numbers; None from DeepSpeed, whose ranks have written their files when this returns.

        Raises:
            CheckpointError: under DeepSpeed, on the rank that cannot write.
        """
        checkpoint = self.dump_checkpoint(weights_only)
        if not self._engine.startswith("deepspeed"):
            return checkpoint
        save = partial(self.trainer.strategy.save_checkpoint, checkpoint, partial_of(final) / DENSE_FILE)
        # Its ranks meet while they write: one that fails has to end, so that the others do.
        try:
            writing(final)(save)()
        except RuntimeError as error:  # torch's word for a full disk
            raise CheckpointError(f"{final} could not be written ({error}); the checkpoint before is good") from error
        self.trainer.strategy.barrier("all ranks have written")
        return None

    def resume_start(self, checkpoint_path: Any = None, weights_only: bool | None = None) -> None:
        """Load what rank 0 has chosen; every rank calls, see Lightning.

        Raises:
            CheckpointError: on every rank, if one cannot read, or there is nothing whole to read.
            ConfigError: on every rank, if they see other files.
        """
        given = Path(checkpoint_path).parent if checkpoint_path else None
        chosen = choice_of_rank_zero(self.choose or (lambda: given), Path(self.trainer.default_root_dir))
        self.chosen = chosen
        if chosen is not None:
            rank_zero_info(f"going on from {chosen}")
        load = partial(super().resume_start, chosen and chosen / DENSE_FILE, weights_only)
        if chosen is None or self._engine != "ddp":
            load()  # the ranks of other engines meet while they load
        else:
            on_every_rank(reading(chosen)(load))
