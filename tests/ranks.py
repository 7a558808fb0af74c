"""Runs a function on several ranks: spawned processes, gloo, and the traceback of the first rank that fails.

Importing torch takes seconds, so processes are kept for the next call. When a call fails, those that have not returned
are killed, since they may wait in a collective forever.
"""

import atexit
import multiprocessing
import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.distributed as dist

START_TIMEOUT_S = 120.0


class RankError(Exception):
    """A rank raised, died, or did not come back in time."""


class _Job(NamedTuple):
    function: Callable[..., Any]
    args: tuple[Any, ...]
    rank: int
    num_ranks: int
    rendezvous: str
    timeout_s: float


class _Outcome(NamedTuple):
    value: Any
    error: str | None


class _Worker:
    """A process that serves jobs, and this end of its pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, remote = context.Pipe()
        self.process = context.Process(target=_serve, args=(remote,), name="rank")
        self.process.start()
        self.busy = True
        remote.close()  # so that the pipe ends when the process does

    def send(self, job: _Job) -> None:
        self.busy = True
        self.connection.send_bytes(pickle.dumps(job))

    def receive(self) -> _Outcome:
        try:
            outcome: _Outcome = pickle.loads(self.connection.recv_bytes())
        except EOFError:
            self.process.join()
            return _Outcome(None, f"died with exit code {self.process.exitcode}")
        self.busy = outcome.error is not None
        return outcome

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


_idle: list[_Worker] = []


def run_ranks(
    function: Callable[..., Any], num_ranks: int, *args: Any, timeout_s: float = 120.0, fresh: bool = False
) -> list[Any]:
    """Call `function(*args)` on every rank of a new gloo process group.

    Args:
        function: of a module, found by import in the rank; asks `lightning_face.distributed.world` who it is.
        num_ranks: processes.
        args: picklable, the same for all ranks.
        timeout_s: for the call; starting the processes is not counted.
        fresh: in processes that have run nothing before and will run nothing after, for libraries that keep state.

    Returns:
        What it returned on each rank, in rank order.

    Raises:
        RankError: with the traceback of the rank that failed first, or the ranks that did not come back in time.
    """
    workers = _start(num_ranks) if fresh else _take(num_ranks)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for rank, worker in enumerate(workers):
                job = _Job(function, args, rank, num_ranks, f"file://{Path(folder, 'rendezvous')}", timeout_s)
                worker.send(job)
            return _collect(workers, time.monotonic() + timeout_s)
    finally:
        for worker in workers:
            worker.busy = worker.busy or fresh
        _put_back(workers)


def torchrun() -> AbstractContextManager[Any]:
    """In a rank: the environment in which Lightning finds the process group that the harness has made."""
    numbers = {"RANK": dist.get_rank(), "LOCAL_RANK": dist.get_rank(), "WORLD_SIZE": dist.get_world_size()}
    variables = {**numbers, "MASTER_ADDR": "-", "MASTER_PORT": 0}
    return patch.dict(os.environ, {name: str(value) for name, value in variables.items()})


def _take(num_workers: int) -> list[_Worker]:
    """Idle workers, and new ones where there are too few."""
    workers: list[_Worker] = []
    while _idle and len(workers) < num_workers:
        worker = _idle.pop()
        if worker.process.is_alive():  # a thread that a test left behind, a watchdog say, may have ended it
            workers.append(worker)
        else:
            worker.kill()
    try:
        return workers + _start(num_workers - len(workers))
    except BaseException:
        _put_back(workers)
        raise


def _start(num_workers: int) -> list[_Worker]:
    """New workers; they start together."""
    workers = [_Worker() for _ in range(num_workers)]
    try:
        _collect(workers, time.monotonic() + START_TIMEOUT_S)
    except BaseException:
        _put_back(workers)
        raise
    return workers


def _put_back(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.busy:
            worker.kill()
        else:
            _idle.append(worker)


def _collect(workers: list[_Worker], deadline: float) -> list[Any]:
    """One outcome of each worker, as they come."""
    values: list[Any] = [None] * len(workers)
    ranks: dict[Any, int] = {worker.connection: rank for rank, worker in enumerate(workers)}
    while ranks:
        ready = wait(list(ranks), max(0.0, deadline - time.monotonic()))
        if not ready:
            raise RankError(f"out of time: ranks {sorted(ranks.values())} of {len(workers)} did not come back")
        for connection in ready:
            rank = ranks.pop(connection)
            outcome = workers[rank].receive()
            if outcome.error is not None:
                raise RankError(f"rank {rank} of {len(workers)}: {outcome.error}")
            values[rank] = outcome.value
    return values


@atexit.register
def _kill_idle() -> None:
    while _idle:
        _idle.pop().kill()


def _serve(connection: Connection) -> None:
    """The life of a worker, until the other end of the pipe is gone."""
    torch.set_num_threads(1)
    connection.send_bytes(pickle.dumps(_Outcome(None, None)))
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(_run(data))


def _run(data: bytes) -> bytes:
    """A failing rank keeps its process group: closing it would make the others fail too, and hide who was first."""
    try:
        job: _Job = pickle.loads(data)
        dist.init_process_group(
            "gloo",
            init_method=job.rendezvous,
            rank=job.rank,
            world_size=job.num_ranks,
            timeout=timedelta(seconds=job.timeout_s),
        )
        value = job.function(*job.args)
        dist.destroy_process_group()
        return pickle.dumps(_Outcome(value, None))
    except BaseException:
        return pickle.dumps(_Outcome(None, traceback.format_exc()))
