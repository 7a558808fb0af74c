"""What `check` looks at in one shard: its bytes, its members, its rows of the index, its images."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.images import RejectedImage, check_jpeg
from data_prep.pool import Advance
from data_prep.samples import Sample, read_samples
from lightning_face.data.manifest import Shard
from lightning_face.errors import DataError

MAX_FINDINGS_PER_SHARD = 20


@dataclass(frozen=True)
class ShardToCheck:
    """A line of the manifest with its rows of the index (None where the index cannot be read)."""

    folder: Path
    shard: Shard
    rows: NDArray[np.void] | None
    num_classes: int


@dataclass
class ShardReport:
    """What was found: problems, with the file or sample that has each, and how many images have which size."""

    findings: list[tuple[str, str]] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    more: int = 0

    def add(self, where: str, problem: str) -> None:
        """Note a problem, or only count it after many."""
        if len(self.findings) < MAX_FINDINGS_PER_SHARD:
            self.findings.append((where, problem))
        else:
            self.more += 1


def check_shard(task: ShardToCheck, advance: Advance) -> ShardReport:
    """Everything that is wrong with one shard."""
    report = ShardReport()
    name, path = task.shard.name, task.folder / task.shard.name
    try:
        _check_bytes(report, task.shard, path)
        samples = read_samples(path)
    except FileNotFoundError:
        report.add(name, "is missing")
        return report
    except OSError as error:
        report.add(name, f"cannot be read: {error.strerror}")
        return report
    except DataError as error:
        report.add(name, str(error))
        return report
    if len(samples) != task.shard.samples:
        report.add(name, f"holds {len(samples)} samples, the manifest says {task.shard.samples}")
    _check_labels(report, task, samples)
    if task.rows is not None:
        _check_rows(report, task, samples)
    _check_images(report, task, samples, advance)
    return report


def _check_bytes(report: ShardReport, shard: Shard, path: Path) -> None:
    with path.open("rb") as file:
        size, digest = path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    if size != shard.bytes:
        report.add(shard.name, f"is {size:,} bytes long, the manifest says {shard.bytes:,}")
    elif digest != shard.sha256:
        report.add(shard.name, f"has sha256 {digest[:12]}..., the manifest says {shard.sha256[:12]}...")


def _check_labels(report: ShardReport, task: ShardToCheck, samples: list[Sample]) -> None:
    for sample in samples:
        if sample.label >= task.num_classes:
            problem = f"has label {sample.label}; there are {task.num_classes} classes, from 0"
            report.add(f"{task.shard.name} {sample.key}", problem)


def _check_rows(report: ShardReport, task: ShardToCheck, samples: list[Sample]) -> None:
    assert task.rows is not None
    places = {(sample.offset, sample.size): sample for sample in samples}
    for number, row in enumerate(task.rows):
        sample = places.pop((int(row["offset"]), int(row["size"])), None)
        where = f"{task.shard.name} row {number}"
        if sample is None:
            report.add(where, f"points at {row['size']} bytes from {row['offset']}, where no image lies (or one twice)")
        elif row["label"] != sample.label:
            report.add(where, f"has label {row['label']}, {sample.key}.cls says {sample.label}")
    if places:
        first = next(iter(places.values())).key
        report.add(task.shard.name, f"has {len(places)} images without a row in the index, the first {first}")


def _check_images(report: ShardReport, task: ShardToCheck, samples: list[Sample], advance: Advance) -> None:
    with (task.folder / task.shard.name).open("rb") as file:
        for sample in samples:
            file.seek(sample.offset)
            try:
                report.sizes[check_jpeg(file.read(sample.size))] += 1
            except RejectedImage as reason:
                report.add(f"{task.shard.name} {sample.key}", str(reason))
            advance()
