"""Samples compared with one another: what contrastive, marginal and triplet losses share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_face.losses.at_once import rows_at_once

# Shapes: B samples of a rank, G of the global batch, D embedding dimension.


class _SquaredDistances(torch.autograd.Function):
    """From differences, of which a tile exists at a time: the expanded square would lose the digits of near pairs."""

    @staticmethod
    def forward(ctx: Any, rows_BD: Tensor, others_GD: Tensor) -> Tensor:
        ctx.save_for_backward(rows_BD, others_GD)
        return torch.cat([differences.square_().sum(2) for _, differences in _differences(rows_BD, others_GD)])

    @staticmethod
    def backward(ctx: Any, gradient_BG: Tensor) -> tuple[Tensor, Tensor]:
        rows_BD, others_GD = ctx.saved_tensors
        pull_BD, pull_GD = torch.zeros_like(rows_BD), torch.zeros_like(others_GD)
        for part, differences in _differences(rows_BD, others_GD):
            differences.mul_(2.0 * gradient_BG[part].unsqueeze(2))
            pull_BD[part] = differences.sum(1)
            pull_GD -= differences.sum(0)
        return pull_BD, pull_GD


def _differences(rows_BD: Tensor, others_GD: Tensor) -> Iterator[tuple[slice, Tensor]]:
    size = rows_at_once(others_GD.numel(), 1, others_GD.device)  # each has that many differences
    for start in range(0, len(rows_BD), size):
        part = slice(start, start + size)
        yield part, rows_BD[part].unsqueeze(1) - others_GD


def distances_of(squares: Tensor) -> Tensor:
    """Square roots; where the square is 0 their gradient, which has no limit there, is taken to be 0."""
    is_zero = squares == 0
    return squares.masked_fill(is_zero, 1.0).sqrt().masked_fill(is_zero, 0.0)


@dataclass(frozen=True)
class Pairs:
    """Samples of a rank, each with every other sample of the global batch: ordered pairs, by their first member.

    Args:
        squares_BG: squared Euclidean distances; their gradients go to both members.
        is_positive_BG: the other is of the same class, and not the sample itself.
        is_negative_BG: the other is of another class.
    """

    squares_BG: Tensor
    is_positive_BG: Tensor
    is_negative_BG: Tensor

    @classmethod
    def of(cls, features_GD: Tensor, labels_G: Tensor, own: slice) -> "Pairs":
        """Compare the samples at `own` with all.

        Args:
            features_GD: floating point.
            labels_G: int64.
            own: where the rank's samples stand; the own pairs of all ranks are all pairs, each once.
        """
        is_same_BG = labels_G[own].unsqueeze(1) == labels_G
        places_G = torch.arange(len(labels_G), device=labels_G.device)
        is_self_BG = places_G[own].unsqueeze(1) == places_G
        squares_BG = _SquaredDistances.apply(features_GD[own], features_GD)
        return cls(squares_BG, is_same_BG & ~is_self_BG, ~is_same_BG)


@dataclass(frozen=True)
class Costs:
    """What the pairs or triplets of a rank cost.

    Args:
        total: scalar, their sum, with gradient.
        counts: int64 (2,): how many they are, and how many of them cost more than nothing.
    """

    total: Tensor
    counts: Tensor

    @classmethod
    def of(cls, costs: Tensor, is_meant: Tensor) -> "Costs":
        """Add up those of the costs that are meant; by a mask, since for a list a GPU would have to be waited for."""
        costs = costs.masked_fill(~is_meant, 0.0)
        return cls(costs.sum(), torch.stack([is_meant.sum(), costs.detach().count_nonzero()]))
