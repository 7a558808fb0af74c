"""Ranks that a run starts on its own machine: none outlives another, and one that is killed is named."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.strategies import Strategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from lightning_face import signals

_GRACE_S = 10.0
"""Time to end by oneself once another rank has: to fail in a collective, say, with an error of one's own."""


class LocalRanks(_SubprocessScriptLauncher):
    """Starts the other ranks of this machine, as Lightning does, and watches them.

    Lightning's observer would kill this process, and its exit code, as soon as another rank ends with one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._others: list[subprocess.Popen[bytes]] = []
        self._watchers: list[threading.Thread] = []
        self._is_ending = threading.Event()
        self._is_killing = False

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        """See Lightning."""
        try:
            return super().launch(function, *args, trainer=trainer, **kwargs)
        except BaseException:
            self._is_ending.set()
            raise

    def _call_children_scripts(self) -> None:
        with signals.held_back():
            super()._call_children_scripts()
        self._others, self.procs = self.procs, []  # Lightning's observer finds nothing to watch
        atexit.register(self._end_all)
        first = self.cluster_environment.node_rank() * self.num_processes
        for number, process in enumerate(self._others, first + 1):
            self._watchers.append(threading.Thread(target=self._watch, args=(number, process), daemon=True))
            self._watchers[-1].start()

    def _watch(self, number: int, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if code < 0 and not self._is_killing:
            name = signal.Signals(-code).name
            print(f"error: rank {number} (process {process.pid}) was ended by {name}", file=sys.stderr, flush=True)
        if code == 0 or self._is_ending.wait(_GRACE_S):
            return
        self._is_killing = True
        for other in self._others:
            other.kill()
        os._exit(1)

    def _end_all(self) -> None:
        """Wait for the others, which end now as well; as long as one may take that has failed."""
        self._is_ending.set()
        deadline = time.monotonic() + _GRACE_S
        for process in self._others:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._is_killing = True
                process.kill()
        for watcher in self._watchers:
            watcher.join()  # it may have a rank to name yet


def watch_local_ranks(strategy: Strategy) -> None:
    """Have a strategy start the ranks of this machine by `LocalRanks`, if it is to start any."""
    launcher = strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        strategy._launcher = LocalRanks(launcher.cluster_environment, launcher.num_processes, launcher.num_nodes)
