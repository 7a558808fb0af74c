"""Pairs of hashes that differ in few bits, one from each of two columns, without a look at all pairs.

Hashes that differ in b bits agree in at least one of any b + 1 bands that their bits are cut into (the pigeonhole
principle), so only those that agree in a band are compared.

Shapes: N hashes on the left, M on the right, P pairs.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

HASH_BITS = 64

_PAIRS_AT_ONCE = 1 << 22
_LEFT_AT_ONCE = 1 << 16


def equal_pairs(left_N: Hashes, right_M: Hashes) -> Iterator[tuple[Places, Places]]:
    """All pairs of equal values, by their place on the left.

    Args:
        left_N: (N,) uint64.
        right_M: (M,) uint64.

    Yields:
        Places (P,) on the left and on the right of some pairs: so few that they fit into memory.
    """
    order_M = np.argsort(right_M, kind="stable")
    sorted_M = right_M[order_M]
    for start in range(0, len(left_N), _LEFT_AT_ONCE):
        block = left_N[start : start + _LEFT_AT_ONCE]
        begins, ends = (np.searchsorted(sorted_M, block, side) for side in ("left", "right"))
        pairs_before = np.cumsum(ends - begins)
        # Cut where the count of pairs passes a multiple; a single hash may be equal to any number of others.
        cuts = np.flatnonzero(np.diff(pairs_before // _PAIRS_AT_ONCE)) + 1
        for places in np.split(np.arange(len(block)), cuts):
            counts = ends[places] - begins[places]
            within_P = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            yield start + np.repeat(places, counts), order_M[np.repeat(begins[places], counts) + within_P]


def near_pairs(left_N: Hashes, right_M: Hashes, bits: int) -> tuple[Places, Places, NDArray[np.uint8]]:
    """All pairs of hashes that differ in few bits, each once.

    Args:
        left_N: (N,) uint64.
        right_M: (M,) uint64.
        bits: that may differ, of 64.

    Returns:
        Places on the left and on the right, and how many bits differ, (P,) each; by left, then by right.
    """
    found: list[tuple[Places, Places, NDArray[np.uint8]]] = []
    bands = _bands(bits + 1)
    for number, band in enumerate(bands):
        for left_P, right_P in equal_pairs(left_N & band, right_M & band):
            differing_P = left_N[left_P] ^ right_M[right_P]
            count_P = np.bitwise_count(differing_P)
            kept_P = count_P <= bits
            for earlier in bands[:number]:
                kept_P &= (differing_P & earlier) != 0  # else that band has found it
            found.append((left_P[kept_P], right_P[kept_P], count_P[kept_P]))
    left_P, right_P, count_P = (np.concatenate(column) for column in zip(_NONE, *found, strict=True))
    order_P = np.lexsort((right_P, left_P))
    return left_P[order_P], right_P[order_P], count_P[order_P]


_NONE = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))


def _bands(count: int) -> list[np.uint64]:
    """Masks that share out the bits: neighbours, which depend on one another most, to different bands."""
    return [np.uint64(sum(1 << bit for bit in range(first, HASH_BITS, count))) for first in range(count)]
