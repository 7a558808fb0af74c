"""Rows in a file, read some at a time: what is known of ten million images takes the memory of a hundred thousand."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 1 << 17
"""Of some forty bytes each."""

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

        Args:
            keys: of rows.
            lasts: the last key of each range, ascending; the first range begins with 0, and every key is in one.

        Raises:
            OSError: there is no room beside the file.
        """
        keyed = np.dtype([("key", "<u8"), ("row", self.dtype)])
        with TemporaryDirectory(dir=self.path.parent) as folder:
            ranges = [Rows(Path(folder) / str(number), keyed) for number in range(len(lasts))]
            self._distribute(keys, lasts, ranges)
            for one in ranges:
                both = np.frombuffer(one.path.read_bytes(), keyed)
                yield both["row"], both["key"]

    def _distribute(self, keys: Keys, lasts: Sequence[int], ranges: Sequence["Rows"]) -> None:
        with ExitStack() as stack:
            files = [stack.enter_context(one.path.open("wb")) for one in ranges]
            start = 0
            for block in self.blocks():
                both = np.empty(len(block), ranges[0].dtype)
                both["row"], both["key"] = block, keys(block, start)
                number = np.searchsorted(np.array(lasts, np.uint64), both["key"])
                for present in np.unique(number):
                    append(files[present], both[number == present])
                start += len(block)


def append(file: BinaryIO, rows: NDArray[np.void]) -> None:
    """Write rows to the end of a file; `tofile` may lose them where the disk is full, and not say so."""
    file.write(rows.tobytes())


def even_ranges(num_rows: int) -> list[int]:
    """The last key of each range, for `by_key`, where keys are hashes: about `ROWS_AT_ONCE` rows are in each."""
    num_ranges = max(1, -(-num_rows // ROWS_AT_ONCE))
    return [(number << 64) // num_ranges - 1 for number in range(1, num_ranges + 1)]


def counted_ranges(counts: NDArray[np.int64]) -> list[int]:
    """The same where `counts[key]` rows have a key: at most `ROWS_AT_ONCE` rows, or those of one key, are in each."""
    lasts, rows = list[int](), 0
    for key, count in enumerate(counts.tolist()):
        if rows and rows + count > ROWS_AT_ONCE:
            lasts.append(key - 1)
            rows = 0
        rows += count
    return [*lasts, max(len(counts) - 1, 0)]
