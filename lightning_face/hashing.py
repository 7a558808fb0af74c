"""Counter-based randomness: every random choice is a hash of what it belongs to, never the state of a generator.

`splitmix64` (Steele, Lea and Flood, OOPSLA 2014, figure 17) finalises each key. Numbers never change with a library's
version, need no state in a checkpoint, and can be computed by any rank for any sample.
"""

import numpy as np
from numpy.typing import NDArray

Key = int | str | NDArray[np.integer]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _as_uint64(key: Key) -> NDArray[np.uint64]:
    if isinstance(key, str):
        # More letters would not count, and two uses of one seed would share their numbers unseen.
        assert len(key.encode()) <= 8, f"{key!r} has more than 8 letters"
        return np.asarray(int.from_bytes(key.encode()[:8], "little"), dtype=np.uint64)
    if isinstance(key, int):
        return np.asarray(key & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    return key.astype(np.uint64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash64(*keys: Key) -> NDArray[np.uint64]:
    """Hash of the keys in order, broadcast against each other.

    Args:
        keys: integers, integer arrays, or names of at most 8 letters that keep two uses of one seed apart.

    Returns:
        uint64 array of the broadcast shape.
    """
    with np.errstate(over="ignore"):
        state = np.zeros((), dtype=np.uint64)
        for key in keys:
            state = _mix((state ^ _as_uint64(key)) + _GOLDEN)
    return state


def uniform(*keys: Key) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), 53 bits, float64; see `hash64` for the keys."""
    return (hash64(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(*keys: Key) -> NDArray[np.float64]:
    """Standard normal numbers by Box and Muller's transform, float64; see `hash64` for the keys."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(*keys, "radius")))
    return radius * np.cos(2.0 * np.pi * uniform(*keys, "angle"))


def permutation(size: int, *keys: Key) -> NDArray[np.int64]:
    """A permutation of range(size): the order of the hashes, int64."""
    return np.argsort(hash64(*keys, np.arange(size)), kind="stable")


def seed_of(*keys: Key) -> int:
    """A non-negative 63-bit seed for a library's own generator."""
    return int(hash64(*keys) >> np.uint64(1))
