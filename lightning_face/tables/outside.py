"""The classes outside of a batch whose centers have moved before: Minimum Margin Loss meets them in tiles."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from lightning_face.losses import ClassRows
from lightning_face.losses.at_once import rows_at_once
from lightning_face.tables.block import own_classes, places_in
from lightning_face.tables.centers import NEVER, Centers

# Shapes: U classes of the batch, O classes outside of it that this rank holds, S of them in a tile, D dimension.


class Outside:
    """Classes that have been seen but are not in a batch; those never seen have no center worth a distance.

    A rank keeps one int64 for each of those that it holds; everything else comes in tiles.

    Args:
        centers: the table.
        classes_U: of the batch, int64, sorted; the same on every rank.
    """

    def __init__(self, centers: Centers, classes_U: Tensor) -> None:
        self._centers = centers
        self._classes_U = classes_U

    @cached_property
    def held_O(self) -> Tensor:
        """Those that this rank holds, int64, sorted."""
        is_outside_H = self._centers.moved_at_H != NEVER
        is_outside_H[self._centers.places(self._classes_U)[1]] = False
        return is_outside_H.nonzero().squeeze(1) + self._centers.held.start

    @property
    def own(self) -> range:
        """Places of the held ones that this rank answers for; over all ranks, each class once."""
        return places_in(own_classes(self._centers.num_classes), self.held_O)

    def count(self) -> int:
        """Number of classes outside, over all ranks; every rank calls."""
        return int(self._centers.over_held_(self.held_O.new_tensor(len(self.held_O))))

    def rows(self, part: slice) -> ClassRows:
        """Some of the held ones with their rows, copied."""
        classes_S = self.held_O[part]
        return ClassRows(classes_S, self._centers.rows_HD[classes_S - self._centers.held.start])

    def everywhere(self) -> Iterator[ClassRows]:
        """All classes outside in tiles, the same on every rank; every rank goes through all of them.

        Sharded, every tile is exchanged: over all tiles that is the whole table.
        """
        size = rows_at_once(0, self._centers.rows_HD.shape[1], self._centers.rows_HD.device)
        for start in range(0, self._centers.num_classes, size):
            stop = min(start + size, self._centers.num_classes)
            classes = torch.arange(start, stop, device=self._classes_U.device)
            has_moved = self._centers.of_any(self._centers.moved_at_H, classes) != NEVER
            classes_S = classes[has_moved & ~torch.isin(classes, self._classes_U)]
            if len(classes_S):
                yield ClassRows(classes_S, self._centers.rows_of(classes_S))
