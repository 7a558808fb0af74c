"""What `test` leaves: the final figures, where scripts find them."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from lightning_face.files import write_atomically
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer

RESULT_FILE = "result.json"


class Evaluation(Callback):
    """A callback that has figures of the evaluated weights on rank 0."""

    def record(self) -> dict[str, Any]:
        """What the result is to hold of the sets that were evaluated."""
        raise NotImplementedError


class Result(Callback):
    """Writes `result.json` in the run's folder after `test`: the checkpoint, and what each `Evaluation` records."""

    def on_test_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Write it, whole or not at all."""
        if not trainer.is_global_zero:
            return
        result: dict[str, Any] = {"checkpoint": weights_of(trainer)}
        for callback in trainer.callbacks:
            if isinstance(callback, Evaluation):
                result |= callback.record()
        write_atomically(trainer.run_dir / RESULT_FILE, (json.dumps(result, indent=1) + "\n").encode())


def weights_of(trainer: FaceTrainer) -> str:
    """Which weights are evaluated: the step of a training, or the name of a checkpoint."""
    if trainer.state.fn != "fit" and trainer.ckpt_path:
        return Path(trainer.ckpt_path).parent.resolve().name
    return f"step {trainer.global_step}"
