"""Minimum Margin Loss: class centers closer than a margin are pushed apart (Wei et al., arXiv 1805.06741)."""

from typing import Any

import torch
from torch import Tensor

from lightning_face.losses.pair_tiles import ClassRows, TileOfPairs, tiles

# Shapes: U classes of a batch, D embedding dimension.


class MinimumMargin:
    """Sum over ordered pairs of different classes of max(margin - ||c_i - c_j||^2, 0), for the pairs added so far.

    Its numbers are float64, since pairs may be as many as the square of the number of classes.

    Attributes:
        loss: the *sum* over ordered pairs (each unordered pair counts twice); no pair, no loss.
        num_close: ordered pairs closer than the margin.
        smallest_square: smallest squared distance, infinite without pairs.
        gradient_UD: of the loss with respect to the batch's centers, where asked for; finite everywhere, and zero
            between coincident centers.

    Args:
        batch: centers of U classes.
        margin: the smallest *squared* distance that costs nothing; in squared units of the embedding.

    Source:
        Wei et al., "Minimum Margin Loss for Deep Face Recognition", arXiv 1805.06741. Whether the paper squares the
        distance, counts ordered pairs or averages is not verified; see docs/losses.md.
    """

    def __init__(self, batch: ClassRows, margin: float) -> None:
        self._batch, self._margin = batch, margin
        self.loss, self.num_close = batch.rows_RD.new_zeros(2, dtype=torch.float64)
        self.smallest_square = self.loss + torch.inf
        self.gradient_UD = torch.zeros_like(batch.rows_RD)

    def add(self, first: ClassRows, second: ClassRows, times: int = 1) -> TileOfPairs:
        """Add pairs of constants; with `times` 2 in both orders."""
        tile = TileOfPairs(first, second, self._margin)
        self.loss = self.loss + times * tile.loss
        self.num_close = self.num_close + times * tile.num_close
        self.smallest_square = torch.minimum(self.smallest_square, tile.smallest_square)
        return tile

    def add_within(self, own: range, *, gradient: bool) -> None:
        """Add the pairs of the batch's classes whose first member is in `own`: ranks share them so.

        The gradient is the whole one of these members, second places included; ranks share that by member too.
        """
        for part in tiles(own, self._batch.rows_RD):
            tile = self.add(self._batch[part], self._batch)
            if gradient and len(tile.close_K):
                self.gradient_UD[part] += tile.first_gradient()

    def add_across(self, others: ClassRows, *, gradient: bool) -> TileOfPairs:
        """Add the pairs of the batch's classes and others, in both orders."""
        tile = self.add(self._batch, others, times=2)
        if gradient and len(tile.close_K):
            self.gradient_UD += tile.first_gradient()
        return tile

    def at(self, centers_UD: Tensor, factor: float) -> Tensor:
        """The loss times a factor, as a function of the batch's centers: it sends them the gradient."""
        loss: Tensor = _WithGradient.apply(centers_UD, self.loss * factor, self.gradient_UD * factor)
        return loss


class _WithGradient(torch.autograd.Function):
    """A value whose gradient is known already."""

    @staticmethod
    def forward(ctx: Any, at_UD: Tensor, value: Tensor, gradient_UD: Tensor) -> Tensor:
        ctx.save_for_backward(gradient_UD)
        return value.to(at_UD.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (gradient_UD,) = ctx.saved_tensors
        return gradient * gradient_UD, None, None
