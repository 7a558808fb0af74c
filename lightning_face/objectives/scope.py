"""Which pairs of classes Minimum Margin Loss looks at, and how ranks share them."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from lightning_face.losses import ClassRows, MinimumMargin, tiles
from lightning_face.tables.block import own_classes, places_in
from lightning_face.tables.centers import Centers
from lightning_face.tables.outside import Outside

Scope = Literal["batch", "batch_vs_all", "all"]

# Shapes: U classes of the batch, O seen classes outside of it that this rank holds, D embedding dimension.


class ScopedPairs:
    """Ordered pairs of different classes that have been seen, around a batch.

    `batch`: both members in the batch; `batch_vs_all`: at least one; `all`: any. Each is the one before and more: pairs
    within the batch, pairs across its border, pairs outside. What the ranks add to `sums` are parts of one sum.

    Args:
        centers: the table.
        batch: the batch's classes, with their updated centers; the same on every rank.
        margin: squared distance.
        scope: as above.
    """

    def __init__(self, centers: Centers, batch: ClassRows, margin: float, scope: Scope) -> None:
        self.sums = MinimumMargin(batch, margin)
        self._centers = centers
        self._batch = batch
        self._scope = scope
        self._outside = Outside(centers, batch.classes_R)

    def add_own(self, *, gradient: bool) -> None:
        """Add this rank's share of the pairs; with the gradient of the batch's centers, but none of the others'."""
        self.sums.add_within(own_classes(len(self._batch)), gradient=gradient)
        if self._scope != "batch":
            for part in tiles(self._outside.own, self._batch.rows_RD):
                self.sums.add_across(self._outside.rows(part), gradient=gradient)
        if self._scope == "all":
            for part, others in self._pairs_outside(self._outside.own):
                self.sums.add(self._outside.rows(part), others)

    def count(self) -> int:
        """Ordered pairs of the scope over all ranks; every rank calls."""
        num_batch = len(self._batch)
        num_outside = 0 if self._scope == "batch" else self._outside.count()
        num_seen = num_batch + num_outside
        if self._scope == "all":
            return num_seen * (num_seen - 1)
        return num_batch * (num_batch - 1 + 2 * num_outside)

    @torch.no_grad()
    def push(self, rate: float) -> None:
        """Move every class of the scope down its gradient times `rate`, all from where they stood; every rank calls.

        A rank looks at all pairs of the rows that it holds: replicated, all ranks end with the same bits. The rows
        outside move tile by tile, since their gradients depend on the batch's rows, which move last; with `all` they
        depend on one another, and the gradients outside take as much memory as the held rows.
        """
        held = range(len(self._outside.held_O)) if self._scope != "batch" else range(0)
        pull_OD = self._gradient_outside(held) if self._scope == "all" else None
        for part in tiles(held, self._batch.rows_RD):
            others = self._outside.rows(part)
            tile = self.sums.add_across(others, gradient=True)
            self._centers.shift(others.classes_R[tile.close_K], -rate * tile.second_gradient())
        if pull_OD is not None:
            self._centers.shift(self._outside.held_O, pull_OD.mul_(-rate))
        if self._scope != "batch":
            self._centers.over_held_(self.sums.gradient_UD)
        self.sums.add_within(places_in(self._centers.held, self._batch.classes_R), gradient=True)
        self._centers.shift(self._batch.classes_R, -rate * self.sums.gradient_UD)

    def _gradient_outside(self, held: range) -> Tensor:
        """Gradient (O, D) of the pairs outside the batch."""
        pull_OD = self._batch.rows_RD.new_zeros((len(held), self._batch.rows_RD.shape[1]))
        for part, others in self._pairs_outside(held):
            pull_OD[part] += self.sums.add(self._outside.rows(part), others).first_gradient()
        return pull_OD

    def _pairs_outside(self, rows: range) -> Iterator[tuple[slice, ClassRows]]:
        """Held rows outside, in parts, with every other one; every rank goes through all of them."""
        for others in self._outside.everywhere():
            for part in tiles(rows, others.rows_RD):
                yield part, others
