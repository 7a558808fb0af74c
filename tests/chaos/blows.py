"""A callback that records what each rank trains on, and deals the blow that this attempt is to receive."""

import multiprocessing
import os
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from tests.chaos.events import DISK_FULL_STEPS, LEFT_ALONE, Event

VARIABLE = "LIGHTNING_FACE_CHAOS"
"""Environment variable with the event; without it nothing happens."""

NO_SPACE_BEYOND = 48 * 1024
"""Bytes of a file beyond which a full disk writes nothing: less than weights take (1.7 MB), plots too (34 to 231 kB);
more than rank 1's rows (3 kB), so that one rank fails alone, and than what this callback writes down."""


class Blows(Callback):
    """Records samples; strikes when the moment has come."""

    def __init__(self) -> None:
        text = os.environ.get(VARIABLE)
        self._event = Event.load(text) if text else None
        self._is_dealt = False
        self._first_step = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Count steps from here; listen to saves."""
        self._first_step = trainer.global_step
        save = trainer.begin_saving

        def struck_save(*args: Any, **kwargs: Any) -> None:
            self._reach("save", trainer)
            save(*args, **kwargs)

        trainer.begin_saving = struck_save

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """A step is about to be made."""
        self._reach("step", trainer)
        event = self._event
        if event is not None and event.kind == "disk full" and self._is_dealt:
            steps = trainer.global_step - self._first_step - event.step
            if steps == DISK_FULL_STEPS:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            if steps == 2 * DISK_FULL_STEPS and trainer.global_rank == event.rank:
                os.kill(os.getpid(), signal.SIGTERM)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """A batch is about to be embedded."""
        self._reach("validation", trainer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write down what was trained: time, step and samples."""
        faces, _ = batch
        ids = " ".join(map(str, faces.sample_ids_B.tolist()))
        attempt = LEFT_ALONE if self._event is None else self._event.number
        path = Path(trainer.run_dir) / f"trained-{attempt:04d}-{trainer.global_rank}.txt"
        with path.open("a") as file:
            file.write(f"{time.time()} {trainer.global_step - 1} {ids}\n")

    def _reach(self, moment: str, trainer: Any) -> None:
        event = self._event
        if event is None or self._is_dealt or moment != event.moment:
            return
        if trainer.global_step - self._first_step < event.step:
            return
        self._is_dealt = True
        if event.kind == "disk full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (NO_SPACE_BEYOND, resource.RLIM_INFINITY))
        elif trainer.global_rank == event.rank:
            threading.Timer(event.delay_s, _strike, [event]).start()


def _strike(event: Event) -> None:
    if event.kind.startswith("rank"):
        os.kill(os.getpid(), event.number_of_signal)
    elif event.kind == "data worker killed":
        os.kill(multiprocessing.active_children()[0].pid or 0, event.number_of_signal)
    else:
        # By another process, as a scheduler does: data workers obey their parent, which this one is.
        subprocess.run(["sh", "-c", f"kill -{event.number_of_signal} 0"])
