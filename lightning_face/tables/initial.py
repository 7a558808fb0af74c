"""Initial rows of a class table: a pure function of (seed, table, class id), so that any sharding starts alike."""

import numpy as np
import torch
from torch import Tensor

from lightning_face.hashing import hash64

_ROWS_AT_ONCE = (
    1024  # whose hashes stay in a core's cache; on their way to a device, no more than these are on the host
)
_PER_HASH = 4  # numbers that come from one 64-bit hash, 16 bits each


def initial_rows(
    name: str,
    first_class: int,
    num_rows: int,
    dim: int,
    *,
    std: float,
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Normal rows of standard deviation `std` for classes [first_class, first_class + num_rows).

    Numbers are drawn from the 2^16 quantiles of the normal distribution that lie in the middle of equal shares, up to
    4.3 deviations: looking up is the same in every block and vector width, where a vectorised logarithm or cosine may
    end a block with other bits.

    Args:
        name: of the table, at most 8 letters; two tables of one seed differ.

    Returns:
        (num_rows, dim) float32 on the device, computed on the CPU.
    """
    rows = torch.zeros((num_rows, dim), dtype=torch.float32, device=device)
    if std == 0.0:
        return rows
    quantiles = (std * _normal_quantiles()).astype(np.float32)
    hashes = np.arange(-(-dim // _PER_HASH))
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, num_rows)
        classes = np.arange(first_class + start, first_class + stop)[:, None]
        ranks = hash64(seed, name, classes, hashes).view(np.uint16)[:, :dim]
        rows[start:stop] = torch.from_numpy(np.take(quantiles, ranks))
    return rows


def _normal_quantiles() -> np.ndarray:
    """Standard normal numbers (65536,) float64, rising, all equally likely."""
    count = 2**16
    shares = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.special.ndtri(shares).numpy()
