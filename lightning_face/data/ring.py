"""Memory for decoded batches that is written again and again: a worker's new pages cost half as much as decoding."""

import itertools
import math
import mmap
import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_rings: weakref.WeakValueDictionary[int, "Ring"] = weakref.WeakValueDictionary()
"""By their keys, of this process and of the one that it was forked from: a pickled place names its ring by the key."""

_keys = itertools.count()


class Place(NamedTuple):
    """Memory for one batch: the key of its ring, and its number there."""

    ring: int
    number: int

    def tensor(self, shape: Sequence[int]) -> Tensor:
        """A uint8 tensor in this memory; in the process that took the place, it is free when no view is left.

        Args:
            shape: of what is there, no larger than the place.
        """
        ring = _rings[self.ring]
        array = ring.memory[self.number, : math.prod(shape)].reshape(shape)
        # The tensor's storage holds this very array, and goes with the last tensor that looks at it.
        weakref.finalize(array, ring.free.add, self.number).atexit = False
        return torch.from_numpy(array)


class Ring:
    """Equally large places, shared with the processes that are forked later.

    A process takes places and tells a worker of each with what it asks for; the worker writes there and sends the
    place alone. Memory is mapped where a batch is written first, and needs no room in /dev/shm, which containers limit.

    Args:
        num_places: batches at a time.
        place_bytes: the largest batch.
    """

    def __init__(self, num_places: int, place_bytes: int) -> None:
        self.memory: NDArray[np.uint8] = np.frombuffer(mmap.mmap(-1, num_places * place_bytes), np.uint8)
        self.memory = self.memory.reshape(num_places, place_bytes)
        self.free = set(range(num_places))
        self._key = next(_keys)
        _rings[self._key] = self

    def take(self) -> Place | None:
        """A place that nobody uses; None where all are in use."""
        return Place(self._key, self.free.pop()) if self.free else None
