"""Faces with the same bytes as an earlier one."""

import numpy as np
from numpy.typing import NDArray

from data_prep.passes.rows import Rows, even_ranges

DUPLICATE_DTYPE = np.dtype([("first", "<u4"), ("number", "<u4")])
"""A face, by its number in the source, and the first one that has the same bytes. Taken as one number of 64 bits, with
`number` in front, they sort by it."""


def find_duplicates(faces: Rows, excluded_I: NDArray[np.bool_]) -> NDArray[np.void]:
    """All that come later than another one, DUPLICATE_DTYPE, in the order of the source.

    Args:
        faces: with columns `number`, `identity` and `digest`, two numbers; in the order of the source.
        excluded_I: identities whose faces do not count.

    Raises:
        OSError: there is no room beside `faces`.
    """
    found = [np.empty(0, DUPLICATE_DTYPE)]
    for rows, _ in faces.by_key(lambda rows, _: rows["digest"][:, 0], even_ranges(len(faces))):
        among = rows[~excluded_I[rows["identity"]]]
        later, first = _repeated(among["digest"])
        pairs = np.empty(len(later), DUPLICATE_DTYPE)
        pairs["number"], pairs["first"] = among["number"][later], among["number"][first]
        found.append(pairs)
    together = np.concatenate(found)
    together.view("<u8").sort()
    return together


def _repeated(digest_N2: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of later faces, and for each that of the first one with the same digest."""
    order = np.lexsort(digest_N2.T)  # stable: equal ones stay in the order of the source
    ordered = digest_N2[order]
    same = (ordered[1:] == ordered[:-1]).all(axis=1)
    later = np.flatnonzero(same) + 1
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    first = starts[np.searchsorted(starts, later, side="right") - 1]
    return order[later], order[first]
