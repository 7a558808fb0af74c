"""Each start of a run is an attempt; a later one takes the run's folder over."""

from functools import partial
from pathlib import Path

from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_face import attempts
from lightning_face.checkpoint.failures import writing
from lightning_face.distributed.agreement import gather_objects, on_every_rank
from lightning_face.distributed.world import rank
from lightning_face.loggers import CsvLogger
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer


class Attempts(Callback):
    """Begins an attempt once ranks have met, and before they choose a checkpoint to go on from.

    Args:
        ckpt_path: the checkpoint of `--ckpt_path`, if it was given.
    """

    def __init__(self, ckpt_path: str | None = None) -> None:
        self.ckpt_path = ckpt_path

    def setup(self, trainer: FaceTrainer, pl_module: FaceModule, stage: str) -> None:
        """From here on a former attempt writes nothing more."""
        if stage == "fit":
            begin = writing(trainer.run_dir)(partial(self._begin, trainer.run_dir))
            attempts.take_part(trainer.run_dir, gather_objects(on_every_rank(begin))[0])

    def _begin(self, run_dir: Path) -> int:
        """Its number, on rank 0."""
        if rank() != 0:
            return 0
        number = attempts.begin(run_dir, self.ckpt_path)
        rank_zero_info(f"attempt {number} at {run_dir}")
        return number

    def on_train_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Drop the rows of steps that will be made again; rows count steps from 0."""
        for logger in trainer.loggers:
            if isinstance(logger, CsvLogger):
                logger.cut_after(trainer.global_step - 1)
