"""Copies in host memory, which nothing changes while they are written."""

import copy
from itertools import chain, repeat
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

Value = TypeVar("Value")


class HostCopies:
    """Copies the tensors of one value at a time, into memory that is kept for the next one.

    Memory that is touched for the first time takes several times as long as the copy.
    """

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def missing_bytes(self, value: object) -> int:
        """What `copy` would allocate."""
        pairs = zip(_tensors_in(value), self._rooms(value), strict=True)
        return sum(tensor.nbytes for tensor, room in pairs if room is None)

    @torch.no_grad()
    def copy(self, value: Value) -> Value:
        """The same value with tensors on the host, until the next call; all else in it is copied as well.

        Args:
            value: dicts, lists and tuples that hold tensors on any device, with all work on them enqueued.
        """
        tensors, rooms = _tensors_in(value), self._rooms(value)
        self._kept = [
            torch.empty_like(tensor, device="cpu") if room is None else room
            for tensor, room in zip(tensors, rooms, strict=True)
        ]
        for room, tensor in zip(self._kept, tensors, strict=True):
            room.copy_(tensor)  # from a GPU into memory that is not pinned: returns when it is done
        return copy.deepcopy(value, dict(zip(map(id, tensors), self._kept, strict=True)))

    def _rooms(self, value: object) -> list[Tensor | None]:
        """For each tensor the memory that the one in its place had before, if it fits."""
        in_place = zip(_tensors_in(value), chain(self._kept, repeat(None)), strict=False)
        return [room if room is not None and _fits(room, tensor) else None for tensor, room in in_place]


def _tensors_in(value: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _fits(room: Tensor, tensor: Tensor) -> bool:
    return (room.dtype, room.shape, room.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
