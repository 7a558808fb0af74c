"""Which of the gathered faces make up a dataset, and who is who. Columns alone: ten million images take 1 GB."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.passes import spool
from data_prep.passes.recipe import Recipe

SAMPLE_DTYPE = np.dtype(
    [("number", "<u4"), ("chunk", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("label", "<u4")]
)  # fmt: skip
"""A face that is kept: its number in the source, where its bytes lie in the spool, how many they are, and its class."""

LEFT_OUT_DTYPE = np.dtype([("number", "<u4"), ("why", "u1"), ("detail", "<u4")])
"""A face that is left out, by its number in the source, and what `Why` needs to be told."""

_GATHERED_DTYPE = np.dtype([("number", "<u4"), ("identity", "<u4"), ("offset", "<u8"), ("size", "<u4")])


class Why(IntEnum):
    """Why a face is left out, in the order in which that is decided."""

    KEPT = 0
    EXCLUDED = 1
    DUPLICATE = 2  # detail: number of the first face with the same bytes
    TOO_FEW = 3  # detail: images that its identity has left
    TOO_MANY_IDENTITIES = 4


@dataclass(frozen=True)
class Selection:
    """What a dataset holds, and what it does not.

    Args:
        identities: name of each label, sorted.
        samples: SAMPLE_DTYPE, in the order of the source.
        left_out: LEFT_OUT_DTYPE, in the order of the source.
        not_met: names to be excluded that no face has, sorted.
    """

    identities: Sequence[str]
    samples: NDArray[np.void]
    left_out: NDArray[np.void]
    not_met: Sequence[str]


def select(work: Path, num_items: int, recipe: Recipe) -> Selection:
    """Choose from what was gathered.

    Args:
        work: folder of unfinished work, all chunks gathered.
        num_items: of the source.
        recipe: who is kept.

    Raises:
        DataError: a chunk is lost.
    """
    faces, digest, names = _read(work, num_items)
    why, detail = _left_out(faces, digest, names, recipe)
    del digest
    out = np.flatnonzero(why)
    left_out = np.empty(len(out), LEFT_OUT_DTYPE)
    left_out["number"], left_out["why"], left_out["detail"] = faces["number"][out], why[out], detail[out]
    kept = faces[why == Why.KEPT]
    del faces, why, detail
    identities, labels = _labels(kept["identity"], names)
    samples = np.empty(len(kept), SAMPLE_DTYPE)
    for column in ("number", "offset", "size"):
        samples[column] = kept[column]
    samples["chunk"] = kept["number"] // spool.CHUNK_ITEMS
    samples["label"] = labels[kept["identity"]]
    return Selection(identities, samples, left_out, sorted(set(recipe.exclude).difference(names)))


def _read(work: Path, num_items: int) -> tuple[NDArray[np.void], NDArray[np.uint64], list[str]]:
    """Columns of all gathered faces, (2, N) digests of their bytes, and the names that their identities number."""
    faces, digest, filled = np.empty(num_items, _GATHERED_DTYPE), np.empty((2, num_items), np.uint64), 0
    numbers: dict[str, int] = {}
    for chunk in spool.chunks_of(num_items):
        spooled = spool.read_spooled(work, chunk)
        names = np.array([numbers.setdefault(name, len(numbers)) for name in spooled.identities], dtype=np.uint32)
        rows = faces[filled : filled + len(spooled.faces)]
        rows["number"] = chunk * spool.CHUNK_ITEMS + spooled.faces["place"]
        rows["identity"] = names[spooled.faces["identity"]]
        rows["offset"] = np.cumsum(spooled.faces["size"], dtype=np.uint64) - spooled.faces["size"]
        rows["size"] = spooled.faces["size"]
        digest[:, filled : filled + len(rows)] = spooled.faces["digest"].T
        filled += len(rows)
    return faces[:filled], digest[:, :filled], list(numbers)


def _left_out(
    faces: NDArray[np.void], digest: NDArray[np.uint64], names: Sequence[str], recipe: Recipe
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """`Why`, and its detail, of each face."""
    why, detail = np.zeros(len(faces), np.uint8), np.zeros(len(faces), np.uint32)
    if recipe.keep_all:
        return why, detail
    identity, excluded = faces["identity"], set(recipe.exclude)
    why[np.array([name in excluded for name in names], dtype=bool)[identity]] = Why.EXCLUDED
    again, first = duplicates(digest, why == Why.KEPT)
    why[again], detail[again] = Why.DUPLICATE, faces["number"][first]
    counts = np.bincount(identity[why == Why.KEPT], minlength=len(names)).astype(np.uint32)
    few = (why == Why.KEPT) & (counts < recipe.min_images)[identity]
    why[few], detail[few] = Why.TOO_FEW, counts[identity[few]]
    counts[counts < recipe.min_images] = 0
    why[(why == Why.KEPT) & ~_largest(counts, names, recipe.max_identities)[identity]] = Why.TOO_MANY_IDENTITIES
    return why, detail


def duplicates(digest: NDArray[np.uint64], among: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces whose bytes came before, and for each the first one that has them.

    Args:
        digest: (2, N) of the bytes.
        among: (N,) which faces to look at.

    Returns:
        Places of the later faces and of the first ones, (D,) int64 each.
    """
    order = np.lexsort(digest)  # stable: equal ones stay in the order of the source
    order = order[among[order]]
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for column in digest:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    later = np.flatnonzero(same) + 1
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    first = starts[np.searchsorted(starts, later, side="right") - 1]
    return order[later], order[first]


def _largest(counts: NDArray[np.uint32], names: Sequence[str], most: int | None) -> NDArray[np.bool_]:
    """Whether an identity is among the `most` with the most images; of equal ones the first by name are."""
    kept = counts > 0
    if most is not None:
        by_name = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
        order = by_name[np.argsort(-counts[by_name].astype(np.int64), kind="stable")]
        kept[order[most:]] = False
    return kept


def _labels(identity: NDArray[np.uint32], names: Sequence[str]) -> tuple[list[str], NDArray[np.uint32]]:
    """Names of those who have images, sorted, and the label that each number of an identity becomes."""
    present = sorted(np.unique(identity).tolist(), key=names.__getitem__)
    labels = np.zeros(len(names), np.uint32)
    labels[present] = np.arange(len(present))
    return [names[number] for number in present], labels
