"""What a step pays for the agreement of ranks on signals, and for the watchdog: `python -m benchmarks.agreement`."""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.distributed as dist

from lightning_face import signals, watchdog
from lightning_face.distributed.step_agreement import StepAgreement

STEP_S = 0.1
TARGET = 0.005
"""Of a step of 100 ms."""


def cost_of_boundaries(rank: int, num_ranks: int, num_steps: int, rendezvous: str) -> list[tuple[float, float]]:
    """Seconds that pass at each boundary between steps, and seconds of a core; in a step ranks compute and meet."""
    dist.init_process_group(
        "gloo", init_method=rendezvous, rank=rank, world_size=num_ranks, timeout=timedelta(minutes=5)
    )
    torch.set_num_threads(1)
    factor_NN, gradient = torch.rand(256, 256), torch.rand(1 << 20)
    agreement, costs = StepAgreement("signal", "superseded"), []
    with watchdog.watching(15.0, rank):
        for _ in range(num_steps):
            started, worked = time.perf_counter(), time.thread_time()
            agreement.tell("signal", signals.received())
            agreement.tell("superseded", 0)
            agreement.exchange()
            agreement.largest("superseded")
            agreement.largest("signal")
            watchdog.alive()
            costs.append((time.perf_counter() - started, time.thread_time() - worked))
            while time.perf_counter() < started + STEP_S:
                factor_NN @ factor_NN
            dist.all_reduce(gradient)
    agreement.close()
    dist.destroy_process_group()
    return costs


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    print(f"of a step of {1e3 * STEP_S:.0f} ms, rank that pays most; target: below {TARGET:.1%}")
    print("|   W | median us | mean us | of a core us | median / step |")
    print("| --: | --------: | ------: | -----------: | ------------: |")
    for num_ranks in arguments.ranks:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(num_ranks, mp_context=get_context("spawn")) as pool,
        ):
            rendezvous = f"file://{Path(folder, 'rendezvous')}"
            jobs = [
                pool.submit(cost_of_boundaries, rank, num_ranks, arguments.steps, rendezvous)
                for rank in range(num_ranks)
            ]
            costs = [list(zip(*job.result()[1:], strict=True)) for job in jobs]
        median = max(statistics.median(passed) for passed, _ in costs)
        mean = max(statistics.fmean(passed) for passed, _ in costs)
        core = max(statistics.fmean(worked) for _, worked in costs)
        times = f"{1e6 * median:9.0f} | {1e6 * mean:7.0f} | {1e6 * core:12.0f}"
        print(f"| {num_ranks:3} | {times} | {median / STEP_S:13.2%} |")


if __name__ == "__main__":
    main()
