"""Each start of a run is an attempt; a later one takes the run's folder over."""

from functools import partial

from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_face import attempts
from lightning_face.checkpoint.failures import writing
from lightning_face.distributed.agreement import on_rank_zero
from lightning_face.loggers import CsvLogger
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer


class Attempts(Callback):
    """Begins an attempt once ranks have met, and before they choose a checkpoint to go on from."""

    def setup(self, trainer: FaceTrainer, pl_module: FaceModule, stage: str) -> None:
        """From here on a former attempt writes nothing more."""
        if stage == "fit":
            on_rank_zero(writing(trainer.run_dir)(partial(_begin, trainer)))

    def on_train_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Drop the rows of steps that will be made again; rows count steps from 0."""
        for logger in trainer.loggers:
            if isinstance(logger, CsvLogger):
                logger.cut_after(trainer.global_step - 1)


def _begin(trainer: FaceTrainer) -> None:
    rank_zero_info(f"attempt {attempts.begin(trainer.run_dir)} at {trainer.run_dir}")
