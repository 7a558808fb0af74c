"""Signals that ask a run to stop: noticed from the program's first line on, acted on where it suits the run.

SLURM signals every process of a job. So processes that a run starts are started while signals are held back, which they
inherit: a data worker never takes notice, and a rank of this machine does so once it is ready.
"""

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
"""A scheduler asks by these. Ctrl-C stays as it is."""

_first = 0
_PR_SET_PDEATHSIG = 1


def catch() -> None:
    """Remember the first of these signals from now on, and do nothing else about any of them."""
    for number in STOPPING:
        signal.signal(number, _remember)
        signal.siginterrupt(number, False)  # libraries in C need not expect to be interrupted


def let_through() -> None:
    """Receive signals that the process which started this one has held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def received() -> int:
    """Number of the first signal that came; 0 if none has."""
    return _first


def ignore() -> None:
    """From here on a signal cannot change the exit code any more."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_back(*further: signal.Signals) -> Iterator[None]:
    """Signals come after this block, if they come; processes started in it have them held back until they let them."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOPPING, *further})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends, in whatever state either is; Linux alone can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _remember(number: int, frame: FrameType | None) -> None:
    global _first
    _first = _first or number
