"""A callback that has a run wait at chosen moments until the test has done something to it."""

import time
from pathlib import Path
from unittest.mock import patch

from pytorch_lightning import Callback

from lightning_face import signals
from lightning_face.checkpoint import contents


class Hold(Callback):
    """Ranks wait at each of these moments until a signal comes or the test says `go_on`.

    Args:
        moments: `step-7` once 7 steps are made, `validation-16` in the validation after 16 steps, and `save-20` while
            files of that checkpoint are written.
    """

    def __init__(self, moments: list[str]) -> None:
        self.moments = moments

    def setup(self, trainer, pl_module, stage):
        def seal(path, seal=contents.seal):
            step = int(path.relative_to(Path(trainer.run_dir) / "checkpoints").parts[0].split("-")[-1])
            self._hold(trainer, f"save-{step}")
            return seal(path)

        patch.object(contents, "seal", seal).start()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._hold(trainer, f"step-{trainer.global_step}")

    def on_validation_start(self, trainer, pl_module):
        self._hold(trainer, f"validation-{trainer.global_step}")

    def _hold(self, trainer, moment):
        if moment in self.moments:
            (Path(trainer.run_dir) / f"{moment}-held-{trainer.global_rank}").touch()
            while not signals.received() and not (Path(trainer.run_dir) / f"{moment}-go-on").exists():
                time.sleep(0.05)


def is_held(run_dir, moment, ranks=(0, 1)):
    """Whether these ranks have come to a moment."""
    return all((run_dir / f"{moment}-held-{rank}").exists() for rank in ranks)


def go_on(run_dir, moment):
    """Let ranks pass, in this attempt and in later ones."""
    (run_dir / f"{moment}-go-on").touch()
