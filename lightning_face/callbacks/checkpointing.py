"""When checkpoints are taken, and which are kept."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_warn

from lightning_face.callbacks.verification import MONITORED
from lightning_face.checkpoint.directory import checkpoints_of, name_of, point, prune
from lightning_face.checkpoint.failures import writing
from lightning_face.checkpoint.saver import Whole
from lightning_face.distributed.agreement import on_rank_zero
from lightning_face.errors import CheckpointError, ConfigError
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer


class Checkpointing(Callback):
    """Saves every so many steps and minutes, at the end, and where verification is best.

    A checkpoint is taken only between two optimizer steps, and after the validation that is due there: what is
    decided at the end of a batch is done before the next one, or at the end of the epoch. It is copied there, and
    written while training goes on.

    Args:
        every_n_steps: optimizer steps between checkpoints.
        every_n_minutes: minutes between checkpoints, whichever comes first; 0 for none. Looked at every 20 steps.
        keep: newest checkpoints to keep, besides the best and the newest at a multiple of `every_n_steps`.
    """

    CLOCK_EVERY_N_STEPS = 20

    def __init__(self, every_n_steps: int = 1000, every_n_minutes: float = 30.0, keep: int = 2) -> None:
        if every_n_steps < 1 or keep < 1 or every_n_minutes < 0:
            raise ConfigError(
                "checkpoint.every_n_steps and checkpoint.keep must be above 0 and every_n_minutes not negative, got"
                f" {every_n_steps}, {keep} and {every_n_minutes}"
            )
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.keep = keep
        self.best: dict[str, Any] = {"value": float("-inf"), "step": None}
        self._saved_step = -1
        self._stepped_at = -1
        self._saved_at = time.monotonic()
        self._best_is_due = False
        self._num_failed = 0

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, so that a resumed run goes on comparing."""
        return {"best": dict(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.best = dict(state_dict["best"])

    def on_train_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Forget the clock of an earlier fit; at `on_fit_start` a resumed run does not know its step yet."""
        trainer.saver.newest = Whole(trainer.began_from, trainer.global_step)
        self._saved_at = time.monotonic()
        self._saved_step = self._stepped_at = trainer.global_step

    def on_train_batch_start(self, trainer: FaceTrainer, pl_module: FaceModule, batch: Any, batch_idx: int) -> None:
        """Save what is due after the batch before, whose validation is over now."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            with self._tolerance(trainer):
                trainer.saver.finish_if_ended()
            with self._tolerance(trainer):
                self._save_if_due(trainer, at_the_end=False)

    def on_train_epoch_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """As between batches."""
        with self._tolerance(trainer):
            self._save_if_due(trainer, at_the_end=False)

    def on_train_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Save the final weights, and wait until they are written."""
        self.wait(trainer)
        self._save_if_due(trainer, at_the_end=True)
        trainer.saver.finish()

    def on_exception(self, trainer: FaceTrainer, pl_module: FaceModule, exception: BaseException) -> None:
        """Have the checkpoint under way finished, whatever ends the training; the error to report is that one."""
        try:
            trainer.saver.finish()
        except Exception as error:
            rank_zero_warn(f"{error}")

    def on_validation_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Note whether these are the best weights so far."""
        value = trainer.callback_metrics.get(MONITORED)
        if trainer.state.fn == "fit" and value is not None and float(value) > self.best["value"]:
            self.best = {"value": float(value), "step": trainer.global_step}
            self._best_is_due = True

    def wait(self, trainer: FaceTrainer) -> None:
        """Wait until the checkpoint under way is written, or has failed, which stops no run."""
        with self._tolerance(trainer):
            trainer.saver.finish()

    def save_now(self, trainer: FaceTrainer) -> Path:
        """Save between two steps, unless this step is saved already; where it is saved, once it is."""
        self.wait(trainer)
        if trainer.global_step != self._saved_step:
            self._save(trainer, trainer.global_step)
        trainer.saver.finish()
        return checkpoints_of(trainer.run_dir) / name_of(trainer.global_step)

    @contextmanager
    def _tolerance(self, trainer: FaceTrainer) -> Iterator[None]:
        """A save that fails stops no run, as long as another may follow; all ranks know of it."""
        try:
            yield
        except CheckpointError as error:
            if trainer.engine.startswith("deepspeed"):
                raise  # other ranks may be waiting for this one
            self._num_failed += 1
            self._saved_step, self._best_is_due = -1, False
            rank_zero_warn(
                f"{error}; training goes on, {self._num_failed} saves have failed, the next due one tries again"
            )

    def _save_if_due(self, trainer: FaceTrainer, *, at_the_end: bool) -> None:
        step = trainer.global_step
        if step == self._saved_step:
            self._point_best(trainer, step)
            return
        if at_the_end or self._best_is_due or step % self.every_n_steps == 0 or self._minutes_are_over(trainer, step):
            self._save(trainer, step)

    def _minutes_are_over(self, trainer: FaceTrainer, step: int) -> bool:
        """Rank 0's clock decides for all; asked seldom, since asking is a collective."""
        if self.every_n_minutes == 0 or step % self.CLOCK_EVERY_N_STEPS or step == self._stepped_at:
            return False
        self._stepped_at = step
        over = time.monotonic() - self._saved_at > 60.0 * self.every_n_minutes
        return bool(trainer.strategy.broadcast(over))

    def _point_best(self, trainer: FaceTrainer, step: int) -> None:
        """A validation has come after the checkpoint of this step."""
        if self._best_is_due:
            trainer.saver.finish()
            folder = checkpoints_of(trainer.run_dir)
            on_rank_zero(writing(folder)(partial(point, folder / "best", folder / name_of(step))))
        self._best_is_due = False

    def _save(self, trainer: FaceTrainer, step: int) -> None:
        final = checkpoints_of(trainer.run_dir) / name_of(step)
        trainer.begin_saving(final, partial(self._tidy, final, is_best=self._best_is_due))
        self._best_is_due = False
        self._saved_step, self._saved_at = step, time.monotonic()

    def _tidy(self, final: Path, *, is_best: bool) -> None:
        """Once a checkpoint is published: on rank 0, in the thread that has written it."""
        if is_best:
            point(final.parent / "best", final)
        for left in prune(final.parent, self.keep, self.every_n_steps):
            rank_zero_warn(f"an old checkpoint cannot be removed now: {left}; the next save tries again")
        rank_zero_info(f"saved {final}")
