"""Why a gathered face is left out of a dataset, or that it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from data_prep.passes.duplicates import DUPLICATE_DTYPE, find_duplicates
from data_prep.passes.recipe import Recipe
from data_prep.passes.rows import Rows


class Why(IntEnum):
    """Why a face is left out, in the order in which that is decided."""

    KEPT = 0
    EXCLUDED = 1
    DUPLICATE = 2  # detail: number of the first face with the same bytes
    TOO_FEW = 3  # detail: images that its identity has left
    TOO_MANY_IDENTITIES = 4


@dataclass(frozen=True)
class Verdicts:
    """What decides of each face, of I identities.

    Args:
        excluded_I: whether an identity is left out by its name.
        duplicates: DUPLICATE_DTYPE, in the order of the source.
        counts_I: images that an identity has left after both.
        reason_I: `Why` none of these is kept, or KEPT.
    """

    excluded_I: NDArray[np.bool_]
    duplicates: NDArray[np.void]
    counts_I: NDArray[np.int64]
    reason_I: NDArray[np.uint8]

    def of(self, faces: NDArray[np.void]) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """`Why`, and its detail, of each of some neighbouring faces in the order of the source, one at least."""
        identity, numbers = faces["identity"], faces["number"]
        why = self.reason_I[identity]
        detail = np.where(why == Why.TOO_FEW, self.counts_I[identity], 0).astype(np.uint32)
        known = self.duplicates["number"]
        # By numbers of the same kind: others would have all of them converted first.
        own = slice(np.searchsorted(known, numbers[0]), np.searchsorted(known, numbers[-1], side="right"))
        again = np.searchsorted(numbers, known[own])
        why[again], detail[again] = Why.DUPLICATE, self.duplicates["first"][own]
        excluded = self.excluded_I[identity]
        why[excluded], detail[excluded] = Why.EXCLUDED, 0
        return why, detail


def decide(faces: Rows, names: Sequence[str], recipe: Recipe) -> Verdicts:
    """Decide of all faces.

    Args:
        faces: with columns `number`, `identity` and `digest`, in the order of the source.
        names: of the I identities.
        recipe: who is kept.

    Raises:
        OSError: there is no room beside `faces`.
    """
    nobody_I, kept_I = np.zeros(len(names), bool), np.full(len(names), Why.KEPT, np.uint8)
    all_kept = Verdicts(nobody_I, np.empty(0, DUPLICATE_DTYPE), np.zeros(len(names), np.int64), kept_I)
    if recipe.keep_all:
        return replace(all_kept, counts_I=_counts(faces, all_kept))
    excluded = set(recipe.exclude)
    excluded_I = np.array([name in excluded for name in names], dtype=bool)
    left = replace(all_kept, excluded_I=excluded_I, duplicates=find_duplicates(faces, excluded_I))
    counts_I = _counts(faces, left)
    enough_I = counts_I >= recipe.min_images
    largest_I = _largest(np.where(enough_I, counts_I, 0), names, recipe.max_identities)
    reason_I = np.where(largest_I, Why.KEPT, np.where(enough_I, Why.TOO_MANY_IDENTITIES, Why.TOO_FEW))
    return replace(left, counts_I=counts_I, reason_I=reason_I.astype(np.uint8))


def _counts(faces: Rows, verdicts: Verdicts) -> NDArray[np.int64]:
    counts_I = np.zeros(len(verdicts.reason_I), np.int64)
    for block in faces.blocks():
        kept = block["identity"][verdicts.of(block)[0] == Why.KEPT]
        counts_I += np.bincount(kept, minlength=len(counts_I))
    return counts_I


def _largest(counts_I: NDArray[np.int64], names: Sequence[str], most: int | None) -> NDArray[np.bool_]:
    """Whether an identity is among the `most` with the most images; of equal ones the first by name are."""
    kept_I = counts_I > 0
    if most is not None:
        by_name = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
        order = by_name[np.argsort(-counts_I[by_name], kind="stable")]
        kept_I[order[most:]] = False
    return kept_I
