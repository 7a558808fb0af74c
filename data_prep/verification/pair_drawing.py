"""Balanced verification pairs over folds that share no identity, drawn evenly over the identities."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_face.errors import ConfigError
from lightning_face.hashing import hash64, permutation

NUM_FOLDS = 10
_IMAGES_USED = 256  # of one identity at most: keeps numbers of pairs small


class Pair(NamedTuple):
    """One row of `pairs.csv`: two sample numbers, whether they show one identity (1 or 0), and the fold."""

    left: int
    right: int
    same: int
    fold: int


def draw_pairs(labels: NDArray[np.integer], num_pairs: int, *, seed: int) -> list[Pair]:
    """Pairs for 10-fold verification: in each fold half genuine, half impostor, no pair twice.

    Args:
        labels: (N,) identity of each sample.
        num_pairs: a multiple of 20.
        seed: of the partition and of the draw.

    Raises:
        ConfigError: the samples do not have so many pairs, or the number does not split evenly.
    """
    if num_pairs < 1 or num_pairs % (2 * NUM_FOLDS):
        raise ConfigError(
            f"num_pairs must be a positive multiple of {2 * NUM_FOLDS} (half genuine, in {NUM_FOLDS} folds),"
            f" got {num_pairs}; take {max(1, round(num_pairs / (2 * NUM_FOLDS))) * 2 * NUM_FOLDS}"
        )
    people, counts = np.unique(labels, return_counts=True)
    if len(people) < 2 * NUM_FOLDS:
        raise ConfigError(
            f"pairs in {NUM_FOLDS} identity-disjoint folds need at least {2 * NUM_FOLDS} identities, got {len(people)};"
            " hold out more identities"
        )
    samples = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    order = permutation(len(people), seed, "folds")
    pairs: list[Pair] = []
    for fold in range(NUM_FOLDS):
        group = [samples[person][:_IMAGES_USED] for person in order[fold::NUM_FOLDS]]
        pairs += _genuine(group, num_pairs // (2 * NUM_FOLDS), fold, seed)
        pairs += _impostor(group, num_pairs // (2 * NUM_FOLDS), fold, seed)
    return pairs


def _genuine(group: list[NDArray[np.int64]], need: int, fold: int, seed: int) -> list[Pair]:
    sizes = np.array([len(images) * (len(images) - 1) // 2 for images in group])
    pairs = []
    for person, quota in enumerate(_even_quotas(sizes, need, fold)):
        for code in _distinct_codes(int(sizes[person]), quota, seed, "genuine", fold, person):
            right = (1 + math.isqrt(1 + 8 * code)) // 2
            left = code - right * (right - 1) // 2
            pairs.append(Pair(int(group[person][left]), int(group[person][right]), 1, fold))
    return pairs


def _impostor(group: list[NDArray[np.int64]], need: int, fold: int, seed: int) -> list[Pair]:
    """Identity meets the next one in the group, then the one after it, and so on around."""
    meetings = np.arange(min(need, len(group) * (len(group) - 1) // 2))
    first = meetings % len(group)
    second = (first + 1 + meetings // len(group)) % len(group)
    counts = np.array([len(images) for images in group])
    sizes = counts[first] * counts[second]
    pairs = []
    for meeting, quota in enumerate(_even_quotas(sizes, need, fold)):
        one, other = group[first[meeting]], group[second[meeting]]
        for code in _distinct_codes(int(sizes[meeting]), quota, seed, "impostor", fold, meeting):
            pairs.append(Pair(int(one[code // len(other)]), int(other[code % len(other)]), 0, fold))
    return pairs


def _even_quotas(sizes: NDArray[np.int64], need: int, fold: int) -> list[int]:
    """How many to take of each kind so that `need` are taken, as evenly as the sizes allow."""
    most = int(sizes.sum())
    if most < need:
        raise ConfigError(
            f"num_pairs must be at most {2 * NUM_FOLDS * most} for these, got {2 * NUM_FOLDS * need}: fold {fold}"
            f" has {most} pairs of a kind and needs {need}; ask for fewer pairs or hold out more images"
        )
    level = 1
    while np.minimum(sizes, level).sum() < need:
        level += 1
    quotas = np.minimum(sizes, level)
    full = np.flatnonzero(quotas == level)
    quotas[full[len(full) - (quotas.sum() - need) :]] -= 1
    return quotas.tolist()


def _distinct_codes(size: int, count: int, *keys: int | str) -> list[int]:
    """`count` different numbers below `size`: steps of a random stride, coprime to it, from a random start."""
    if count == 0:
        return []
    start, stride = (int(number) % size for number in hash64(*keys, np.arange(2)))
    while math.gcd(stride, size) != 1:
        stride += 1
    return [(start + step * stride) % size for step in range(count)]
