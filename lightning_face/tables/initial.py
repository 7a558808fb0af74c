"""Initial rows of a class table: a pure function of (seed, table, class id), so that any sharding starts alike."""

import numpy as np
import torch
from torch import Tensor

from lightning_face.hashing import normal

_ROWS_AT_ONCE = 4096  # bounds the float64 work space to tens of megabytes


def initial_rows(name: str, first_class: int, num_rows: int, dim: int, *, std: float, seed: int) -> Tensor:
    """Normal rows of standard deviation `std` for classes [first_class, first_class + num_rows).

    Args:
        name: of the table, at most 8 letters; two tables of one seed differ.

    Returns:
        (num_rows, dim) float32 on the CPU.
    """
    rows = torch.zeros((num_rows, dim), dtype=torch.float32)
    if std == 0.0:
        return rows
    columns = np.arange(dim)
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, num_rows)
        classes = np.arange(first_class + start, first_class + stop)[:, None]
        rows[start:stop] = torch.from_numpy((std * normal(seed, name, classes, columns)).astype(np.float32))
    return rows
