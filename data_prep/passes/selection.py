"""Which of the gathered faces make up a dataset, and who is who. Memory grows with identities, not with images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.passes import spool
from data_prep.passes.recipe import Recipe
from data_prep.passes.rows import Rows, append
from data_prep.passes.verdicts import Verdicts, Why, decide

SAMPLE_DTYPE = np.dtype(
    [("number", "<u4"), ("chunk", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("label", "<u4"), ("perceptual", "<u8")]
)  # fmt: skip
"""A face that is kept: its number in the source, where its bytes lie in the spool, how many they are, its class, and
its perceptual hash."""

LEFT_OUT_DTYPE = np.dtype([("number", "<u4"), ("why", "u1"), ("detail", "<u4")])
"""A face that is left out, by its number in the source, and what `Why` needs to be told."""

_GATHERED_DTYPE = np.dtype(
    [("number", "<u4"), ("identity", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("digest", "<u8", (2,)),
     ("perceptual", "<u8")]
)  # fmt: skip


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
    samples: Rows
    left_out: Rows
    not_met: Sequence[str]

    def counts(self) -> NDArray[np.int64]:
        """Samples (C,) of each label."""
        counts_C = np.zeros(len(self.identities), np.int64)
        for block in self.samples.blocks():
            counts_C += np.bincount(block["label"], minlength=len(counts_C))
        return counts_C


def select(work: Path, num_items: int, recipe: Recipe) -> Selection:
    """Choose from what was gathered.

    Args:
        work: folder of unfinished work, all chunks gathered.
        num_items: of the source.
        recipe: who is kept.

    Raises:
        DataError: a chunk is lost.
        OSError: there is no room in `work`.
    """
    faces = Rows(work / "faces.rows", _GATHERED_DTYPE)
    names = _write_faces(faces, work, num_items)
    verdicts = decide(faces, names, recipe)
    identities, labels_I = _labels(verdicts, names)
    samples, left_out = Rows(work / "samples.rows", SAMPLE_DTYPE), Rows(work / "left_out.rows", LEFT_OUT_DTYPE)
    with samples.path.open("wb") as kept_file, left_out.path.open("wb") as left_out_file:
        for block in faces.blocks():
            why, detail = verdicts.of(block)
            append(kept_file, _samples(block[why == Why.KEPT], labels_I))
            append(left_out_file, _left_out(block["number"], why, detail))
    return Selection(identities, samples, left_out, sorted(set(recipe.exclude).difference(names)))


def _write_faces(faces: Rows, work: Path, num_items: int) -> list[str]:
    """Write a row for each gathered face; returns the names that their identities number."""
    numbers: dict[str, int] = {}
    with faces.path.open("wb") as file:
        for chunk in spool.chunks_of(num_items):
            spooled = spool.read_spooled(work, chunk)
            names = np.array([numbers.setdefault(name, len(numbers)) for name in spooled.identities], dtype=np.uint32)
            rows = np.empty(len(spooled.faces), _GATHERED_DTYPE)
            rows["number"] = chunk * spool.CHUNK_ITEMS + spooled.faces["place"]
            rows["identity"] = names[spooled.faces["identity"]]
            rows["offset"] = np.cumsum(spooled.faces["size"], dtype=np.uint64) - spooled.faces["size"]
            for column in ("size", "digest", "perceptual"):
                rows[column] = spooled.faces[column]
            append(file, rows)
    return list(numbers)


def _labels(verdicts: Verdicts, names: Sequence[str]) -> tuple[list[str], NDArray[np.uint32]]:
    """Names of those who have images, sorted, and the label that each number of an identity becomes."""
    present_I = (verdicts.counts_I > 0) & (verdicts.reason_I == Why.KEPT)
    present = sorted(np.flatnonzero(present_I).tolist(), key=names.__getitem__)
    labels_I = np.zeros(len(names), np.uint32)
    labels_I[present] = np.arange(len(present))
    return [names[number] for number in present], labels_I


def _samples(kept: NDArray[np.void], labels_I: NDArray[np.uint32]) -> NDArray[np.void]:
    samples = np.empty(len(kept), SAMPLE_DTYPE)
    for column in ("number", "offset", "size", "perceptual"):
        samples[column] = kept[column]
    samples["chunk"] = kept["number"] // spool.CHUNK_ITEMS
    samples["label"] = labels_I[kept["identity"]]
    return samples


def _left_out(numbers: NDArray[np.uint32], why: NDArray[np.uint8], detail: NDArray[np.uint32]) -> NDArray[np.void]:
    out = why != Why.KEPT
    rows = np.empty(np.count_nonzero(out), LEFT_OUT_DTYPE)
    rows["number"], rows["why"], rows["detail"] = numbers[out], why[out], detail[out]
    return rows
