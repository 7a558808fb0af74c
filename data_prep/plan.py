"""What a dataset is to hold: its items in order, its identities and the options that decide its bytes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lightning_face.hashing import permutation

Option = str | int | float | None


class Labelled(Protocol):
    """An item of a plan: `repr` tells it from others, `str` is what the user knows it by."""

    @property
    def label(self) -> int:
        """Line of its identity."""
        ...


T = TypeVar("T", bound=Labelled)


@dataclass(frozen=True)
class Plan(Generic[T]):
    """A dataset to be written.

    Args:
        items: one per image, sorted; an item's number is its key.
        identities: name of each label.
        make: JPEG bytes of an item, the same in any process and order; raises `images.RejectedImage`. Picklable if
            there are workers.
        options: by the name of the flag; whatever else decides the bytes. A run is only continued with the same.
        seed: of the order of the samples.
        shard_samples: images in a shard, at most.
        shuffle: spread the samples over the shards; without it they keep their order.
        keep_all: a rejected image is an error rather than left out (ids of a verification set must not move).
        files: further files of the dataset, contents by name.
    """

    items: Sequence[T]
    identities: Sequence[str]
    make: Callable[[T], bytes]
    options: Mapping[str, Option]
    seed: int
    shard_samples: int
    shuffle: bool = True
    keep_all: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)

    def all_options(self) -> dict[str, Option]:
        """The options, those of the shards included."""
        return {**self.options, "seed": self.seed, "shard_samples": self.shard_samples}

    def sha256(self) -> str:
        """Digest of items, identities and further files: another one means that the source has changed."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(f"{item.label} {item!r}\n".encode(errors="backslashreplace"))
        for name in self.identities:
            digest.update(f"{name}\n".encode(errors="backslashreplace"))
        for name, data in self.files.items():
            digest.update(name.encode() + b"\0" + data)
        return digest.hexdigest()

    def order(self) -> list[NDArray[np.int64]]:
        """Numbers of the items in each shard; sizes differ by at most one, so that workers and lanes are even."""
        numbers = np.arange(len(self.items))
        if self.shuffle:
            numbers = permutation(len(self.items), self.seed, "shards")
        return np.array_split(numbers, -(-len(self.items) // self.shard_samples))
