"""`near_duplicates.csv`: images of one identity that look almost the same, by their perceptual hashes."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.passes import spool
from data_prep.passes.rows import counted_ranges
from data_prep.passes.selection import Selection
from lightning_face.files import move_into_place

NEAR_DUPLICATES_FILE = "near_duplicates.csv"

_SQUARE_ROWS = 256  # of the square of distances between the images of an identity, at a time


def write_near_duplicates(out: Path, work: Path, selection: Selection, bits: int) -> int:
    """Write `near_duplicates.csv`: the identity, two of its images, and in how many of 64 bits their hashes differ.

    Args:
        out: folder of the dataset.
        work: folder of unfinished work, its faces hashed.
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
        for label, first, second, differing in _pairs(selection, bits):
            writer.writerow((selection.identities[label], sources[first], sources[second], differing))
            num_pairs += 1
    move_into_place(temporary, out / NEAR_DUPLICATES_FILE)
    return num_pairs


def _pairs(selection: Selection, bits: int) -> Iterator[tuple[int, int, int, int]]:
    """Label, numbers of the two images and differing bits of each pair, by label and then by number."""
    ranges = counted_ranges(selection.counts())
    for rows, labels in selection.samples.by_key(lambda rows, _: rows["label"].astype(np.uint64), ranges):
        order = np.argsort(labels, kind="stable")
        for own in np.split(rows[order], np.flatnonzero(np.diff(labels[order])) + 1):
            for first, second, differing in _near(own["perceptual"], bits):
                yield int(own["label"][0]), int(own["number"][first]), int(own["number"][second]), differing


def _near(hashes_N: NDArray[np.uint64], bits: int) -> Iterator[tuple[int, int, int]]:
    """Places of the images of an identity whose hashes hardly differ, and in how many bits."""
    for start in range(0, len(hashes_N), _SQUARE_ROWS):
        differing = np.bitwise_count(hashes_N[start : start + _SQUARE_ROWS, None] ^ hashes_N)
        near = np.triu(differing <= bits, k=start + 1)
        for row, column in zip(*np.nonzero(near), strict=True):
            yield start + int(row), int(column), int(differing[row, column])
