"""`near_duplicates.csv`: images of one identity that look almost the same, by their perceptual hashes."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.passes import spool
from data_prep.passes.selection import Selection
from lightning_face.files import move_into_place

NEAR_DUPLICATES_FILE = "near_duplicates.csv"

_ROWS_AT_ONCE = 256  # of the square of distances between the images of an identity


def write_near_duplicates(out: Path, work: Path, num_items: int, selection: Selection, bits: int) -> int:
    """Write `near_duplicates.csv`: the identity, two of its images, and in how many of 64 bits their hashes differ.

    Args:
        out: folder of the dataset.
        work: folder of unfinished work, its faces hashed.
        num_items: of the source.
        selection: what the dataset holds: only that is looked at.
        bits: that may differ.

    Returns:
        How many pairs there are.

    Raises:
        OSError: it cannot be written.
    """
    sources, temporary, num_pairs = spool.SourceNames(work), work / NEAR_DUPLICATES_FILE, 0
    with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("identity", "first", "second", "bits"))
        for label, first, second, differing in _pairs(_hashes(work, num_items), selection.samples, bits):
            writer.writerow((selection.identities[label], sources[first], sources[second], differing))
            num_pairs += 1
    move_into_place(temporary, out / NEAR_DUPLICATES_FILE)
    return num_pairs


def _hashes(work: Path, num_items: int) -> NDArray[np.uint64]:
    """Perceptual hash of each item; where there is no face, anything."""
    hashes = np.zeros(num_items, np.uint64)
    for chunk in spool.chunks_of(num_items):
        faces = spool.read_spooled(work, chunk).faces
        hashes[chunk * spool.CHUNK_ITEMS + faces["place"].astype(np.int64)] = faces["perceptual"]
    return hashes


def _pairs(hashes: NDArray[np.uint64], samples: NDArray[np.void], bits: int) -> Iterator[tuple[int, int, int, int]]:
    """Label, numbers of the two images and differing bits of each pair, by label and then by number."""
    order = np.argsort(samples["label"], kind="stable")
    ends = np.cumsum(np.bincount(samples["label"]))
    for label, members in enumerate(np.split(order, ends[:-1])):
        numbers = samples["number"][members]
        own = hashes[numbers]
        for start in range(0, len(own), _ROWS_AT_ONCE):
            rows = own[start : start + _ROWS_AT_ONCE, None]
            differing = np.bitwise_count(rows ^ own)
            near = np.triu(differing <= bits, k=start + 1)
            for row, column in zip(*np.nonzero(near), strict=True):
                yield label, int(numbers[start + row]), int(numbers[column]), int(differing[row, column])
