"""Cost of reading: CPU time per image beside other pipelines, and what a large index takes in time and memory.

Generates its data, reads them in turns by this library's reader, by its decoder alone, and by what other projects use,
and then opens a dataset of millions of samples. CPU time, of all processes, holds on a shared machine; time does not.
Prints tables and leaves reading.json and .md in the output folder.
"""

import argparse
import json
import platform
import resource
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.opening import ORDERS, Opening, make_large, open_and_read
from benchmarks.readers import DECODING, IMAGE_FOLDER, OURS, WEBDATASET, Reader, make_readers, unpack
from benchmarks.sheets import Sheet, markdown
from data_prep.synthetic.generate import TRAIN_FOLDER, make_synthetic

AT_LEAST = {DECODING: 0.9, WEBDATASET: 2.0, IMAGE_FOLDER: 3.0}
"""CPU time of each over ours."""
_PICTURES, _IDENTITIES = 300, 1000
_MEMORY_WORKERS, _MAX_BYTES, _MAX_FIRST_BATCH_S = 8, 500e6, 10.0
_LEGEND = (
    "us: CPU time of all processes per image, median of the rounds; / ours: median of the rounds' ratios; s: from"
    " opening to the first batch; MB: proportional set size of the main process and its workers; beyond small: that"
    " less the same on the small dataset."
)


@dataclass(frozen=True)
class Target:
    """What is promised, what was measured, and the least or most that it may be."""

    name: str
    value: float
    limit: float
    is_least: bool

    @property
    def is_met(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.limit if self.is_least else self.value <= self.limit


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        dataset = _generate(Path(folder), options.images)
        costs = {workers: _read(Path(folder), dataset, workers, options) for workers in options.workers}
        openings = _open(Path(folder), dataset, options)
    targets = [*reading_targets(costs), *opening_targets(openings)]
    report = markdown(_sheets(costs, openings, targets), _LEGEND)
    print(report)
    (options.out / "reading.md").write_text(report)
    content = {
        "machine": _machine(options),
        "cpu_seconds_per_image": costs,
        "openings": [asdict(opening) for opening in openings],
        "targets": [asdict(target) | {"is_met": target.is_met} for target in targets],
    }
    (options.out / "reading.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"{options.out}/reading.json, .md")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.reading", description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=20_000, metavar="N", help="that are read (default: 20000)")
    parser.add_argument("--rounds", type=int, default=7, help="each reads all images in all ways (default: 7)")
    parser.add_argument("--batch", type=int, default=256, help="images (default: 256)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], metavar="W", help="default: 0 2")
    parser.add_argument(
        "--samples", type=int, default=10_000_000, help="of the large index, a multiple of N (default: 10000000)"
    )
    parser.add_argument("--classes", type=int, default=1_000_000, help="of the large index (default: 1000000)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder (default: runs/benchmarks)")
    return parser


def _generate(folder: Path, num_images: int) -> Path:
    make_synthetic(
        folder, identities=min(_IDENTITIES, num_images // 2), images=num_images, known=0, held_out=0, pairs=2, size=112,
        quality=95, reuse=_PICTURES, seed=0, shard_samples=max(1, num_images // 5), workers=0,
    )  # fmt: skip
    unpack(folder / TRAIN_FOLDER, folder / "images")
    return folder / TRAIN_FOLDER


def _read(folder: Path, dataset: Path, num_workers: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds per image of each reader in each round, after one that is not counted."""
    readers = make_readers(dataset, folder / "images", options.batch, num_workers)
    costs: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(options.rounds + 1):
        print(f"{num_workers} workers, round {number} of {options.rounds} ...", flush=True)
        for name, reader in readers.items():
            seconds = cpu_seconds_per_image(reader)
            if number > 0:
                costs[name].append(seconds)
    return costs


def cpu_seconds_per_image(reader: Reader) -> float:
    """Of this process and the children that it has waited for."""
    start = _cpu_seconds()
    num_images = reader()
    return (_cpu_seconds() - start) / num_images


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _open(folder: Path, dataset: Path, options: argparse.Namespace) -> list[Opening]:
    """The small and the large dataset in each order, each in a process of its own, which has imported everything."""
    make_large(dataset, folder / "large", options.samples, options.classes)
    openings = []
    for order, opened in product(ORDERS, (dataset, folder / "large")):
        print(f"opening: {order}, {opened.name} ...", flush=True)
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            openings.append(pool.submit(open_and_read, opened, order, options.batch, _MEMORY_WORKERS).result())
    return openings


def ratio(costs: Mapping[str, Sequence[float]], name: str) -> float:
    """Cost of a reader over ours: the median over the rounds, in which both met the same neighbours."""
    return statistics.median(other / own for other, own in zip(costs[name], costs[OURS], strict=True))


def reading_targets(costs: Mapping[int, Mapping[str, Sequence[float]]]) -> list[Target]:
    """Of CPU time per image, for each number of workers."""
    return [
        Target(f"{name} / ours, {workers} workers", ratio(of_workers, name), least, True)
        for workers, of_workers in costs.items()
        for name, least in AT_LEAST.items()
    ]


def opening_targets(openings: Sequence[Opening]) -> list[Target]:
    """Of time and memory, for pairs of a small and a large dataset."""
    targets = []
    for small, large in zip(openings[::2], openings[1::2], strict=True):
        megabytes = (large.bytes - small.bytes) / 1e6
        targets.append(Target(f"{large.order}: MB beyond small", megabytes, _MAX_BYTES / 1e6, False))
        targets.append(Target(f"{large.order}: s to the first batch", large.first_batch_s, _MAX_FIRST_BATCH_S, False))
    return targets


def _sheets(
    costs: Mapping[int, Mapping[str, Sequence[float]]], openings: Sequence[Opening], targets: Sequence[Target]
) -> list[Sheet]:
    reading = [
        (name, str(workers), f"{1e6 * statistics.median(seconds):.1f}", f"{ratio(of_workers, name):.2f}")
        for workers, of_workers in costs.items()
        for name, seconds in of_workers.items()
    ]
    opening = [
        (o.order, f"{o.num_samples:,}", f"{o.num_classes:,}", f"{o.first_batch_s:.2f}", f"{o.bytes / 1e6:,.0f}")
        for o in openings
    ]
    promises = [
        (
            t.name,
            f"{t.value:,.3g}",
            f"{'at least' if t.is_least else 'at most'} {t.limit:g}",
            "met" if t.is_met else "missed",
        )
        for t in targets
    ]
    return [
        Sheet(("reader", "workers", "us", "/ ours"), reading),
        Sheet(("order", "samples", "identities", "s", "MB"), opening),
        Sheet(("target", "measured", "limit", "verdict"), promises),
    ]


def _machine(options: argparse.Namespace) -> dict[str, object]:
    given = {name: value for name, value in vars(options).items() if name != "out"}
    facts = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__, "options": given}
    return {**facts, "date": datetime.now(UTC).isoformat(timespec="seconds")}


if __name__ == "__main__":
    main()
