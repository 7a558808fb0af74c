"""Images that two datasets share: with the same bytes, or looking almost the same.

Shapes: N images to train on, M to evaluate with, P pairs of one of each.
"""

import numpy as np
from numpy.typing import NDArray

from data_prep import tars
from data_prep.audit.near_pairs import equal_pairs, near_pairs
from lightning_face.data.shards import Shards

PAIR_DTYPE = np.dtype([("train", "<u4"), ("evaluation", "<u4"), ("bits", "u1"), ("is_exact", "?")])
"""Sample ids of two images, in how many bits their perceptual hashes differ, and whether their bytes are the same."""


def shared_images(train_N: NDArray[np.void], evaluation_M: NDArray[np.void], bits: int) -> NDArray[np.void]:
    """All pairs of images that are the same, or almost.

    Args:
        train_N: (N,) HASHES_DTYPE.
        evaluation_M: (M,) HASHES_DTYPE.
        bits: of 64 that perceptual hashes of images with other bytes may differ in.

    Returns:
        (P,) PAIR_DTYPE, by image to train on.
    """
    exact = _exact(train_N["digest"], evaluation_M["digest"])
    ids = [np.flatnonzero(hashes["is_decoded"]) for hashes in (train_N, evaluation_M)]
    places = near_pairs(train_N["perceptual"][ids[0]], evaluation_M["perceptual"][ids[1]], bits)
    near = _pairs(ids[0][places[0]], ids[1][places[1]], places[2], is_exact=False)
    other = (train_N["digest"][near["train"]] != evaluation_M["digest"][near["evaluation"]]).any(axis=1)
    pairs_P = np.concatenate([exact, near[other]])
    return pairs_P[np.lexsort((pairs_P["evaluation"], pairs_P["train"]))]


def _exact(train_N2: NDArray[np.uint64], evaluation_M2: NDArray[np.uint64]) -> NDArray[np.void]:
    found = [_pairs(np.empty(0, np.int64), np.empty(0, np.int64), 0, is_exact=True)]
    for left_P, right_P in equal_pairs(train_N2[:, 0], evaluation_M2[:, 0]):
        same = train_N2[left_P, 1] == evaluation_M2[right_P, 1]
        found.append(_pairs(left_P[same], right_P[same], 0, is_exact=True))
    return np.concatenate(found)


def _pairs(
    train: NDArray[np.int64], evaluation: NDArray[np.int64], bits: NDArray[np.uint8] | int, is_exact: bool
) -> NDArray[np.void]:
    pairs = np.empty(len(train), PAIR_DTYPE)
    pairs["train"], pairs["evaluation"], pairs["bits"], pairs["is_exact"] = train, evaluation, bits, is_exact
    return pairs


def places_of(dataset: Shards, samples: NDArray[np.integer]) -> dict[int, str]:
    """Where images lie, SHARD/KEY.jpg, by sample id: only the shards that hold them are looked into.

    Raises:
        DataError: a shard is damaged.
        OSError: it cannot be read.
    """
    samples = np.unique(samples)
    shards, places = dataset.index["shard"][samples], dict[int, str]()
    for number in np.unique(shards).tolist():
        name = dataset.manifest.shards[number].name
        members = {member.offset: member.name for member in tars.members(dataset.folder / name)}
        for sample in samples[shards == number].tolist():
            places[sample] = f"{name}/{members.get(int(dataset.index['offset'][sample]), '?')}"
    return places
