"""Identification sets: datasets of people whom the training set has, found by name."""

import numpy as np
from numpy.typing import NDArray

from lightning_face.data.manifest import are_numbers
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError


def known_classes(option: str, shards: Shards, train: Shards) -> NDArray[np.int64]:
    """Which class of the training set each class of an identification set is.

    Args:
        option: that names the set, for errors.
        shards: of the set.
        train: of the training set.

    Raises:
        DataError: somebody is unknown, or names are mere numbers in two datasets.
    """
    names, known = shards.identities(), train.identities()
    for place, of_place in ((shards.source, names), (train.source, known)):
        if are_numbers(of_place) and shards.manifest.digest() != train.manifest.digest():
            raise DataError(
                f"{option}: the identities of {place} are numbers, not names: those of another dataset cannot be told"
                " apart; give names with `python -m data_prep index --identities`"
            )
    class_of = {name: known_class for known_class, name in enumerate(known)}
    unknown = [name for name in names if name not in class_of]
    if unknown:
        raise DataError(
            f"{option}: {len(unknown):,} of {len(names):,} identities of {shards.source} are not in {train.source}, the"
            f" first is {unknown[0]!r}; an identification set shows people of the training set alone, data.verification"
            " is for others"
        )
    return np.array([class_of[name] for name in names], dtype=np.int64)
