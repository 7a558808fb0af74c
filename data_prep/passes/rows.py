"""Rows in a file, read some at a time: what is known of ten million images takes the memory of a hundred thousand."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 1 << 17
"""Rows that are held at a time: some forty bytes each."""

Keys = Callable[[NDArray[np.void], int], NDArray[np.uint64]]
"""The key of each of some rows, of which the first has the given place in its file."""


@dataclass(frozen=True)
class Rows:
    """A file of rows that all have the same columns.

    Args:
        path: of the file; `append` writes such.
        dtype: of a row.
    """

    path: Path
    dtype: np.dtype[np.void]

    def __len__(self) -> int:
        """Number of rows."""
        return self.path.stat().st_size // self.dtype.itemsize

    def blocks(self) -> Iterator[NDArray[np.void]]:
        """All rows, `ROWS_AT_ONCE` at a time, in their order."""
        with self.path.open("rb") as file:
            while data := file.read(ROWS_AT_ONCE * self.dtype.itemsize):
                yield np.frombuffer(data, self.dtype)

    def by_key(self, keys: Keys, lasts: Sequence[int]) -> Iterator[tuple[NDArray[np.void], NDArray[np.uint64]]]:
        """The rows of each range of keys, in their order, and their keys; they are copied into a file for each range.

        A range is held whole. The files are beside this one: one caller at a time.

        Args:
            keys: of rows.
            lasts: the last key of each range, ascending; the first range begins with 0, and every key is in one.

        Raises:
            OSError: there is no room beside the file.
        """
        keyed = np.dtype([("key", "<u8"), ("row", self.dtype)])
        folder = self.path.with_suffix(".ranges")
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        folder.mkdir()
        try:
            paths = [folder / str(number) for number in range(len(lasts))]
            self._distribute(keys, lasts, keyed, paths)
            for path in paths:
                both = np.frombuffer(path.read_bytes(), keyed)
                yield both["row"], both["key"]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _distribute(self, keys: Keys, lasts: Sequence[int], keyed: np.dtype[np.void], paths: Sequence[Path]) -> None:
        for path in paths:
            path.touch()
        start = 0
        for block in self.blocks():
            both = np.empty(len(block), keyed)
            both["row"], both["key"] = block, keys(block, start)
            number = np.searchsorted(np.array(lasts, np.uint64), both["key"])
            order = np.argsort(number, kind="stable")
            present, begins = np.unique(number[order], return_index=True)
            for one, rows in zip(present, np.split(both[order], begins[1:]), strict=True):
                with paths[one].open("ab") as file:  # all at once would be too many for a process
                    append(file, rows)
            start += len(block)


def append(file: BinaryIO, rows: NDArray[np.void]) -> None:
    """Write rows to the end of a file; `tofile` may lose them where the disk is full, and not say so."""
    file.write(rows.tobytes())


def even_ranges(num_rows: int) -> list[int]:
    """The last key of each range, for `by_key`, where keys are hashes: about `ROWS_AT_ONCE` rows are in each.

    Rows of equal keys are in one range, however many they are.
    """
    num_ranges = max(1, -(-num_rows // ROWS_AT_ONCE))
    return [(number << 64) // num_ranges - 1 for number in range(1, num_ranges + 1)]


def counted_ranges(counts: NDArray[np.int64]) -> list[int]:
    """The last key of each range, for `by_key`, where so many rows have the keys 0, 1, ...

    At most `ROWS_AT_ONCE` rows are in each range, or all rows of one key.
    """
    lasts, rows = list[int](), 0
    for key, count in enumerate(counts.tolist()):
        if rows and rows + count > ROWS_AT_ONCE:
            lasts.append(key - 1)
            rows = 0
        rows += count
    return [*lasts, max(len(counts) - 1, 0)]
