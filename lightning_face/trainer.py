"""Lightning's trainer, with checkpoints that hold the class tables and are whole or absent."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from lightning_face.checkpoint.directory import DENSE_FILE, TABLES_FILE, make_partial, publish
from lightning_face.checkpoint.tables import save_tables, shapes_of
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.errors import ConfigError
from lightning_face.objectives.objective import Objective


def _nothing() -> None:
    """In place of what Lightning would do."""


class FaceTrainer(Trainer):
    """Trains a `FaceModule` on a `FaceDataModule`; see pytorch_lightning.Trainer for the arguments.

    Raises:
        ConfigError: an argument that would break the exact order of data.
    """

    datamodule: FaceDataModule
    callbacks: list[Callback]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name, needed in {"use_distributed_sampler": False, "reload_dataloaders_every_n_epochs": 0}.items():
            if kwargs.setdefault(name, needed) != needed:
                raise ConfigError(f"trainer.{name} must be {needed}: the order of data is our own; leave it out")
        for name in ("limit_train_batches", "overfit_batches"):
            if kwargs.get(name) not in (None, 1.0, 0.0):
                raise ConfigError(f"trainer.{name} would cut epochs short and break resume; use trainer.max_steps")
        super().__init__(*args, **kwargs)
        self.saved_options: dict[str, Any] = {}
        if isinstance(self.strategy, DDPStrategy):
            # Rank 0's BatchNorm statistics would overwrite the average over ranks that the module keeps.
            self.strategy._ddp_kwargs.setdefault("broadcast_buffers", False)
        # Lightning's handler for SIGTERM runs collectives wherever the signal finds a rank, and ranks hang; its check
        # for the signal costs a blocking broadcast every step. Without them a signal ends the process, and the others
        # end when their next collective fails.
        self._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
        self.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    @property
    def run_dir(self) -> Path:
        """Where the run is written."""
        return Path(self.default_root_dir)

    def _tables(self) -> dict[str, Tensor]:
        objective: Objective = self.lightning_module.objective  # type: ignore[assignment]
        return objective.state()

    def save_checkpoint(
        self, filepath: str | Path, weights_only: bool | None = None, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint directory; all ranks call it, between two optimizer steps.

        Args:
            filepath: the directory, a sibling of the run's other checkpoints.
            weights_only: as in Lightning.
            storage_options: as in Lightning.
        """
        final = Path(filepath)
        partial = final.with_name(f".partial-{final.name}")
        if self.is_global_zero:
            make_partial(final.parent, final.name)
        self.strategy.barrier("checkpoint begins")
        super().save_checkpoint(partial / DENSE_FILE, bool(weights_only), storage_options)
        if self.is_global_zero:
            tables = self._tables()
            save_tables(partial / TABLES_FILE, tables)
            publish(
                partial,
                final,
                step=self.global_step,
                position=self.datamodule.position.state(),
                tables=shapes_of(tables),
                options=self.saved_options,
            )
        self.strategy.barrier("checkpoint is complete")
