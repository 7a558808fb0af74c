"""Rows of numbers found by name: columns in numpy, where a dict of tuples takes ten times the memory.

Shapes: N names, C numbers of each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_face.errors import DataError

MAX_NAME_BYTES = 128
"""Of a name of an image: every one takes the memory of the longest."""


@dataclass(frozen=True)
class NameTable:
    """A table whose names are sorted and differ.

    Args:
        names_N: (N,) bytes.
        values_NC: (N, C) numbers.
    """

    names_N: NDArray[np.bytes_]
    values_NC: NDArray[Any]

    @staticmethod
    def of(path: Path, names_N: NDArray[np.bytes_], values_NC: NDArray[Any]) -> "NameTable":
        """A table from rows in any order.

        Args:
            path: of the file they come from, for errors.
            names_N: (N,) bytes.
            values_NC: (N, C) numbers.

        Raises:
            DataError: a name is too long, or comes again with other numbers.
        """
        longest = int(np.strings.str_len(names_N).max(initial=1))
        if longest > MAX_NAME_BYTES:
            raise DataError(f"{path}: a name of an image is longer than {MAX_NAME_BYTES} bytes")
        names_N = names_N.astype(f"S{longest}")
        order_N = np.argsort(names_N, kind="stable")
        names_N = names_N[order_N]
        values_NC = values_NC[order_N]
        comes_again_N = names_N[1:] == names_N[:-1]
        conflicts = np.flatnonzero(comes_again_N & (values_NC[1:] != values_NC[:-1]).any(axis=1))
        if len(conflicts):
            name = names_N[conflicts[0]].decode(errors="replace")
            raise DataError(f"{path} says two things of {name}; remove one of the lines")
        is_first_N = np.append(True, ~comes_again_N)[: len(names_N)]
        return NameTable(names_N[is_first_N], values_NC[is_first_N])

    def find(self, name: bytes) -> NDArray[Any] | None:
        """The (C,) numbers of a name, or None for one that is not there."""
        if len(name) > self.names_N.itemsize:
            return None  # numpy would make all names as long before it compares
        row = int(np.searchsorted(self.names_N, name))
        if row == len(self.names_N) or self.names_N[row] != name:
            return None
        values_C: NDArray[Any] = self.values_NC[row]
        return values_C
