"""Which classes take part in a step: a hash of (seed, step, class id), computed where the table is."""

import math

import torch
from torch import Tensor

from lightning_face.hashing import hash64


def is_sampled(classes: range, rate: float, *, seed: int, step: int, device: torch.device) -> Tensor:
    """Whether each class's `uniform(seed, "sampled", step, class)` is below `rate`.

    The same for a class whichever rank asks, and fresh in every step.

    Args:
        classes: neighbouring ids.
        rate: in (0, 1]: the share of classes that is sampled, on average.

    Returns:
        Bool, of the length of `classes`.
    """
    numbers = torch.arange(classes.start, classes.stop, device=device)
    hashes = hash_of_last(int(hash64(seed, "sampled", step)), numbers)
    # uniform() is this integer over 2**53, and scaling by a power of two is exact: no float64 on the device.
    return _shift_right(hashes, 11) < math.ceil(rate * 2**53)


def hash_of_last(state: int, numbers: Tensor) -> Tensor:
    """`hash64(*keys, numbers)` on the device of the numbers.

    Args:
        state: `hash64(*keys)`, since keys are hashed one after the other.
        numbers: int64.

    Returns:
        The bits of the hashes as int64, which torch can calculate with everywhere; uint64 it cannot.
    """
    mixed = (numbers ^ _signed(state)) + _signed(0x9E3779B97F4A7C15)
    mixed = (mixed ^ _shift_right(mixed, 30)) * _signed(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ _shift_right(mixed, 27)) * _signed(0x94D049BB133111EB)
    return mixed ^ _shift_right(mixed, 31)


def _shift_right(bits: Tensor, places: int) -> Tensor:
    """Shift zeros in: int64 would shift copies of the sign in."""
    return (bits >> places) & (2 ** (64 - places) - 1)


def _signed(bits: int) -> int:
    """The int64 with the bits of a uint64."""
    return bits - 2**64 if bits >= 2**63 else bits
