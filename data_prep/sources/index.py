"""`index`: manifest, index and identities for WebDataset tars that were made elsewhere."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.passes.publish import publish, summary
from data_prep.passes.record import RECORD_FILE
from data_prep.pool import Advance, run_tasks
from data_prep.progress import progress, say
from data_prep.samples import Sample, read_samples
from data_prep.sources.people import read_lines
from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_DTYPE, Manifest, Shard
from lightning_face.errors import ConfigError, DataError


@dataclass(frozen=True)
class IndexedShard:
    """A tar's line in the manifest, its rows of the index, and its sample with the greatest label."""

    shard: Shard
    rows: NDArray[np.void]
    greatest: Sample


def make_index(tars: Path, *, num_classes: int | None, identities: Path | None, workers: int) -> Manifest:
    """Write the dataset's files beside the tars.

    Args:
        tars: folder of `*.tar`, each with `KEY.jpg` and `KEY.cls`.
        num_classes: labels are below it; None takes the number of identities, or the greatest label + 1.
        identities: file with a name a line, line number = label; None keeps the folder's `identities.txt` if there
            is one, and else writes numbers.
        workers: processes.

    Raises:
        DataError: there are no tars, one is damaged, a label is not below `num_classes`, or a name comes twice.
        ConfigError: the folder was made by another command, or names and number of classes differ.
    """
    if not os.path.isdir(tars):
        raise DataError(f"{tars} is missing or no folder; TARS is a folder of *.tar")
    if os.path.exists(tars / RECORD_FILE):
        raise ConfigError(f"{tars} was made by data_prep and has its index; `check {tars}` verifies it")
    paths = sorted(path for path in tars.glob("*.tar") if path.is_file())
    if not paths:
        raise DataError(f"{tars} holds no *.tar (unpack compressed ones: bytes inside them have no place to index)")
    names = _names_in(identities) if identities else None
    if names and num_classes not in (None, len(names)):
        raise ConfigError(f"--num-classes {num_classes}, but {identities} has {len(names)} names; give one of the two")
    with progress(f"indexing {tars}", len(paths)) as show:
        indexed = run_tasks(index_shard, list(enumerate(paths)), workers, show)
    classes = num_classes or (len(names) if names else 1 + max(one.greatest.label for one in indexed))
    _check_labels(indexed, classes)
    try:
        manifest = publish(
            tars, [one.shard for one in indexed], [one.rows for one in indexed],
            names or _names(tars / IDENTITIES_FILE, classes), shuffled=False,
        )  # fmt: skip
    except OSError as error:
        raise DataError(f"cannot write in {tars}: {error.strerror}; make it writable and start again") from error
    say(summary(tars, manifest))
    return manifest


def index_shard(numbered: tuple[int, Path], advance: Advance) -> IndexedShard:
    """Index one tar.

    Raises:
        DataError: it is damaged, or holds other than KEY.jpg with KEY.cls.
    """
    number, path = numbered
    try:
        samples = read_samples(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        shard = Shard(path.name, len(samples), path.stat().st_size, digest)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    rows = np.array([(number, sample.offset, sample.size, sample.label) for sample in samples], dtype=INDEX_DTYPE)
    advance()
    return IndexedShard(shard, rows, max(samples, key=lambda sample: sample.label))


def _check_labels(indexed: list[IndexedShard], num_classes: int) -> None:
    for one in indexed:
        if one.greatest.label >= num_classes:
            raise DataError(
                f"{one.shard.name}: {one.greatest.key} has label {one.greatest.label}, but there are {num_classes}"
                f" classes, labels 0 to {num_classes - 1}; give a greater --num-classes or more --identities"
            )


def _names(path: Path, num_classes: int) -> list[str]:
    """The names that lie there, if somebody gave any, else numbers."""
    numbers = [str(label) for label in range(num_classes)]
    if not path.is_file():
        return numbers
    names = _names_in(path)
    if len(names) == num_classes:
        return names
    if all(name == str(line) for line, name in enumerate(names)):  # ours, from before tars came or went
        return numbers
    raise DataError(f"{path} has {len(names)} names for {num_classes} classes; complete or remove it")


def _names_in(path: Path) -> list[str]:
    """Lines that all differ: rows of class tables are found by name."""
    names, first = read_lines(path), dict[str, int]()
    for number, name in enumerate(names, 1):
        if first.setdefault(name, number) != number:
            raise DataError(
                f"{path} line {number}: {name} is the name of line {first[name]} already; give each label its own name"
            )
    return names
