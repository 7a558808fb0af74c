"""A signal ends the run at the next boundary between steps, with everything saved."""

import signal
from functools import partial
from typing import Any

from pytorch_lightning import Callback

from lightning_face import attempts, signals
from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.distributed.agreement import gather_objects, on_rank_zero
from lightning_face.distributed.step_agreement import StepAgreement
from lightning_face.errors import CheckpointError, PreemptedError
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer

_BEFORE = "before the first step, nothing is lost"


class Preemption(Callback):
    """Has all ranks stop at the same step when one of them was signalled, and save what is not saved yet.

    Before the first step they stop where they are: there is nothing to save. After the last one the run is done, and
    ends as such. Where saving fails the run stops all the same, to go on from the checkpoint before: a disk may be full
    or away for a while; an attempt that still finds it so cannot begin, and ends with an error.
    """

    def setup(self, trainer: FaceTrainer, pl_module: FaceModule, stage: str) -> None:
        """Stop before anything is loaded: ranks have met by now."""
        if stage == "fit" and (number := max(gather_objects(signals.received()))):
            raise _stopped(number, _BEFORE)

    def on_train_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Have ranks tell one another from now on."""
        trainer.agreement = StepAgreement("signal", "superseded")
        self._first_step = trainer.global_step

    def on_train_batch_start(self, trainer: FaceTrainer, pl_module: FaceModule, batch: Any, batch_idx: int) -> None:
        """Stop between two optimizer steps; all ranks know what one of them knew at the boundary before."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        trainer.agreement.tell("signal", signals.received())
        trainer.agreement.tell("superseded", attempts.is_lost(trainer.run_dir))
        trainer.agreement.exchange()
        is_first = trainer.global_step == self._first_step
        if is_first:
            trainer.agreement.exchange()  # what any rank knows by now is waited for, once
        if trainer.agreement.largest("superseded"):
            on_rank_zero(partial(attempts.check, trainer.run_dir))
        if number := trainer.agreement.largest("signal"):
            where = _BEFORE if is_first else f"after step {trainer.global_step}, {_save(trainer)}"
            trainer.agreement.close()
            raise _stopped(number, where)

    def on_train_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """All steps are made."""
        trainer.agreement.close()


def _save(trainer: FaceTrainer) -> str:
    """Save, and say where; what cannot be saved another attempt makes again."""
    saving = next(one for one in trainer.callbacks if isinstance(one, Checkpointing))
    try:
        return f"saved as {saving.save_now(trainer)}"
    except CheckpointError as error:
        checkpoint, step = trainer.saver.newest
        return f"but {error}; the {trainer.global_step - step} steps since {checkpoint or 'the beginning'} are lost"


def _stopped(number: int, where: str) -> PreemptedError:
    name = signal.Signals(number).name
    return PreemptedError(f"stopped by {name} {where}; start the same command again to go on")
