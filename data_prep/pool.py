"""Tasks spread over worker processes that count what is done and end together with the program."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from typing import Any, TypeVar

from data_prep.progress import Show
from lightning_face.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")

Advance = Callable[[], None]
"""A task calls it after each sample."""

_POLL_S = 0.2
_TASKS_AHEAD = 2  # waiting for workers: enough to keep all busy, few enough to hold in memory


class _Stopped(Exception):
    """Another task failed, or the user interrupted: what this one makes will not be used."""


def run_tasks(work: Callable[[Task, Advance], Result], tasks: Iterable[Task], workers: int, show: Show) -> list[Result]:
    """Results of `work(task, advance)` for each task, in order.

    Args:
        work: picklable; sent to each worker once, a task at a time after it.
        tasks: picklable; taken when a worker is about to need one, a few at a time.
        workers: processes; 0 works in this one.
        show: told the number of samples done.

    Raises:
        DataError: a worker died.
        Exception: the first that a task, or taking one, raised; the others are stopped.
    """
    if workers:
        return _run_in_workers(work, tasks, workers, show)
    count = 0

    def advance() -> None:
        nonlocal count
        count += 1
        show(count)

    return [work(task, advance) for task in tasks]


def _run_in_workers(
    work: Callable[[Task, Advance], Result], tasks: Iterable[Task], workers: int, show: Show
) -> list[Result]:
    # spawn, not fork: a forked child of a program with threads (rich's) may inherit a lock that nobody releases.
    # Processes are started as tasks come, no more of them than there are tasks.
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Value("b", 0)
    executor = ProcessPoolExecutor(workers, context, _start_worker, (work, done, stop))
    results: dict[int, Result] = {}
    pending: dict[Future[Result], int] = {}

    def collect(at_most: int) -> None:
        """Wait until no more than `at_most` tasks are pending."""
        while len(pending) > at_most:
            finished, _ = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            show(done.value)
            for future in finished:
                results[pending.pop(future)] = future.result()

    try:
        for number, task in enumerate(tasks):
            pending[executor.submit(_run_task, task)] = number
            collect(workers + _TASKS_AHEAD - 1)
        collect(0)
        return [results[number] for number in range(len(results))]
    except BrokenProcessPool as error:
        raise DataError("a worker process died (killed, or out of memory?); try again with fewer --workers") from error
    finally:
        stop.value = 1
        executor.shutdown(cancel_futures=True)


# What a worker process was started with; set once in each, by `_start_worker`.
_of_this_worker: dict[str, Any] = {}


def _start_worker(work: Callable[..., object], done: "Synchronized[int]", stop: "Synchronized[int]") -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides, and workers stop at their next sample.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _of_this_worker.update(work=work, done=done, stop=stop)


def _leave_with_parent() -> None:
    # A killed parent closes nothing: without this its workers would go on writing beside those of the next run.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_task(task: object) -> Any:  # what `work` returns
    return _of_this_worker["work"](task, _advance)


def _advance() -> None:
    done, stop = _of_this_worker["done"], _of_this_worker["stop"]
    with done.get_lock():
        done.value += 1
    if stop.value:
        raise _Stopped
