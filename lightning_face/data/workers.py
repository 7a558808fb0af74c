"""Processes that read and decode: their parent alone ends them, by a signal or by its own end."""

import os
import signal
import threading
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.popen_fork import Popen
from multiprocessing.process import BaseProcess

from lightning_face import signals

_END = signal.SIGRTMIN
"""A parent's word, which no scheduler says. SIGTERM would be merged with one of the scheduler's that is still pending,
and the kernel tells then of one sender only."""


class _EndedByParent(Popen):
    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, _END)


class Worker(ForkProcess):
    """A process that a scheduler's signals do not reach, once it has begun by `shield`."""

    @staticmethod
    def _Popen(process: BaseProcess) -> Popen:
        with signals.held_back(_END):
            return _EndedByParent(process)


class WorkerContext(ForkContext):
    """Forks, so that what its parent has imported and mapped is there already."""

    Process = Worker


def shield() -> None:
    """Begin a worker: the signals which it was started without stay away, and it ends with its parent at the latest."""
    signals.end_with_parent()
    threading.Thread(target=_obey, name="signals", daemon=True).start()


def _obey() -> None:
    signal.sigwait([_END])
    os._exit(0)  # torch takes any other exit code for a failure
