"""Runs the cases of a setting side by side, on real ranks."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.cases import DENSE, PEERS, QUICK, Setting, make_case
from benchmarks.counting import LiveMemory, Traffic

_TIMEOUT = timedelta(minutes=30)
_QUICK_STEPS = 10


@dataclass(frozen=True)
class Measurement:
    """What a case costs; of the ranks, the one with most of each.

    Args:
        name: of the case.
        num_classes: C.
        num_ranks: W; 1 for peers, which run on the first rank with the cores of all.
        seconds: median time of a step.
        fastest_seconds: time of the least disturbed step.
        over_dense: that over the dense softmax's; None where this was left out.
        exchanged_bytes: given to and received from collectives in a step.
        peak_bytes: most bytes of tensors made in a step that were alive at once.
        held_bytes: what stays between steps.
    """

    name: str
    num_classes: int
    num_ranks: int
    seconds: float
    fastest_seconds: float
    over_dense: float | None
    exchanged_bytes: int
    peak_bytes: int
    held_bytes: int


@dataclass(frozen=True)
class _Counts:
    """What one rank saw of a case."""

    seconds: list[float]
    exchanged_bytes: int
    peak_bytes: int
    held_bytes: int


def start_ranks(num_ranks: int) -> ProcessPoolExecutor:
    """Processes for `measure`; importing torch takes seconds, so they serve many settings."""
    return ProcessPoolExecutor(num_ranks, mp_context=get_context("spawn"))


def measure(pool: ProcessPoolExecutor, setting: Setting, names: Sequence[str], repeats: int) -> list[Measurement]:
    """Measure cases in turns, so that whatever else the machine does meets all of them.

    Args:
        pool: of at least as many processes as the setting has ranks.
        repeats: rounds, after one that counts bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        # A rank waits for the others, so that each process takes one.
        arguments = setting, names, repeats, Path(folder, "rendezvous")
        jobs = [pool.submit(_on_rank, rank, *arguments) for rank in range(setting.num_ranks)]
        ranks = [job.result() for job in jobs]
    dense = min(ranks[0][DENSE].seconds) if DENSE in names else None
    return [_summary(name, setting, [rank[name] for rank in ranks if name in rank], dense) for name in names]


def _summary(name: str, setting: Setting, ranks: list[_Counts], dense_seconds: float | None) -> Measurement:
    seconds = [max(times) for times in zip(*(rank.seconds for rank in ranks), strict=True)]
    return Measurement(
        name,
        setting.num_classes,
        len(ranks),
        statistics.median(seconds),
        min(seconds),
        None if dense_seconds is None else min(seconds) / dense_seconds,
        max(rank.exchanged_bytes for rank in ranks),
        max(rank.peak_bytes for rank in ranks),
        max(rank.held_bytes for rank in ranks),
    )


def _on_rank(rank: int, setting: Setting, names: Sequence[str], repeats: int, rendezvous: Path) -> dict[str, _Counts]:
    if setting.device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if setting.device == "cuda" else "gloo",
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=setting.num_ranks,
        timeout=_TIMEOUT,
    )
    try:
        return _measure_own(rank, setting, names, repeats)
    finally:
        dist.destroy_process_group()


def _measure_own(rank: int, setting: Setting, names: Sequence[str], repeats: int) -> dict[str, _Counts]:
    own = [name for name in names if rank == 0 or name not in PEERS]
    torch.set_num_threads(setting.threads)
    cases = {name: make_case(name, setting) for name in names if name in own}
    counts: dict[str, _Counts] = {}
    for name, case in cases.items():
        with Traffic() as traffic, LiveMemory() as memory:
            case.step()
        counts[name] = _Counts([], traffic.num_bytes.total(), memory.peak, case.held_bytes)
    for _ in range(repeats):
        for name in names:
            dist.barrier()  # a peer has the machine for itself
            if name in own:
                torch.set_num_threads(setting.cores if name in PEERS else setting.threads)
                steps = _QUICK_STEPS if name in QUICK else 1
                counts[name].seconds.append(_seconds(cases[name].step, steps, setting.device))
    return counts


def _seconds(step: Callable[[], None], steps: int, device: str) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps
