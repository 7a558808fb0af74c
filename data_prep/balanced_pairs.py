"""Pairs to verify generated people by: as many of one person as of two, in ten folds that share nobody."""

from collections.abc import Sequence
from itertools import combinations

from data_prep.synthetic import Item
from lightning_face.errors import ConfigError
from lightning_face.hashing import permutation

NUM_FOLDS = 10

Row = tuple[int, int, int, int]
"""left and right (places in the list of items), 1 for one person or 0 for two, fold."""


def balanced_pairs(items: Sequence[Item], num_pairs: int, *, seed: int) -> list[Row]:
    """Choose different pairs, half genuine and half impostor in each fold; person p is in fold p mod 10.

    Raises:
        ConfigError: the number is no multiple of twice the folds, or there are not that many pairs.
    """
    if num_pairs < 1 or num_pairs % (2 * NUM_FOLDS):
        raise ConfigError(f"--pairs must be a multiple of {2 * NUM_FOLDS} (half genuine, ten folds), got {num_pairs}")
    wanted = num_pairs // NUM_FOLDS // 2
    rows: list[Row] = []
    for fold in range(NUM_FOLDS):
        places = [place for place, item in enumerate(items) if item.label % NUM_FOLDS == fold]
        for same in (1, 0):
            pairs = [pair for pair in combinations(places, 2) if _same(items, pair) == bool(same)]
            if len(pairs) < wanted:
                kind = "genuine" if same else "impostor"
                raise ConfigError(
                    f"--pairs {num_pairs} needs {wanted} {kind} pairs in each of {NUM_FOLDS} folds, fold {fold} has"
                    f" {len(pairs)}; ask for fewer, or for more people with --held-out (at least {2 * NUM_FOLDS})"
                )
            chosen = permutation(len(pairs), seed, "pairs", fold, same)[:wanted]
            rows += [(*pairs[place], same, fold) for place in chosen]
    return rows


def _same(items: Sequence[Item], pair: tuple[int, int]) -> bool:
    return items[pair[0]].label == items[pair[1]].label
