"""Ends a process in which nothing goes on, and says where each of its threads stands.

A rank that waits for another which will never come would wait, and hold its GPUs, for as long as the job may last.
"""

import faulthandler
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_EXIT_CODE = 1
_ERROR_OUTPUT = 2
_LATER_S = 30.0
"""After this, faulthandler does it: its thread needs no interpreter, which a stuck library may hold."""
_GRACE_S = 10.0
"""Between its words and its end, which ends the others: they stand still as long, and have theirs to write."""

_bound_s = 0.0
_alive_at_s = 0.0


@contextmanager
def watching(stall_minutes: float, rank: int) -> Iterator[None]:
    """End this process if `alive` is not called for some minutes in this block; 0 for never."""
    global _bound_s
    _bound_s, is_over = 60.0 * stall_minutes, threading.Event()
    if _bound_s:
        alive()
        threading.Thread(target=_end_when_stalled, args=(rank, is_over), name="watchdog", daemon=True).start()
    try:
        yield
    finally:
        _bound_s = 0.0
        is_over.set()
        faulthandler.cancel_dump_traceback_later()


def alive() -> None:
    """Something goes on: a batch, a file. Cheap enough to be called for each."""
    global _alive_at_s
    now_s = time.monotonic()
    if now_s - _alive_at_s > min(1.0, 0.1 * _bound_s) and _bound_s:  # each call of faulthandler starts a thread
        _alive_at_s = now_s
        # By its number: what stands for the error output in a notebook is no file.
        faulthandler.dump_traceback_later(_bound_s + _LATER_S, file=_ERROR_OUTPUT, exit=True)


def _end_when_stalled(rank: int, is_over: threading.Event) -> None:
    while (left_s := _alive_at_s + _bound_s - time.monotonic()) > 0:
        if is_over.wait(left_s):
            return
    what = (
        f"error: rank {rank} (process {os.getpid()} on {socket.gethostname()}) stands still for {_bound_s / 60:g}"
        " minutes and ends; it may wait for a rank that is stuck or gone; start again and the run goes on from its last"
        " checkpoint; where its threads stand:\n"
    )
    os.write(_ERROR_OUTPUT, what.encode() + _stacks())  # at once: other ranks may write to the same log
    if not is_over.wait(min(_GRACE_S, 0.5 * _bound_s)):
        os._exit(_EXIT_CODE)


def _stacks() -> bytes:
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()
