"""Minimum Margin Loss: class centers closer than a margin are pushed apart (Wei et al., arXiv 1805.06741)."""

import torch
from torch import Tensor

# Shapes: U classes, R of their rows, D embedding dimension.


def squared_distances(rows_RD: Tensor, centers_UD: Tensor) -> Tensor:
    """Squared Euclidean distances (R, U), never negative, safe to differentiate where two centers coincide.

    Distances do not change when all points move together; the mean is taken off first, since the expanded square
    loses digits where norms are large against distances.
    """
    origin = centers_UD.detach().mean(dim=0)
    rows, centers = rows_RD - origin, centers_UD - origin
    squares = rows.square().sum(1, keepdim=True) + centers.square().sum(1) - 2.0 * rows @ centers.T
    return squares.clamp_min(0.0)


def minimum_margin_loss(centers_UD: Tensor, margin: float, first_row: int = 0, num_rows: int | None = None) -> Tensor:
    """Sum over ordered pairs of different classes of max(margin - ||c_i - c_j||^2, 0).

    Args:
        centers_UD: centers of the distinct classes, floating point.
        margin: the smallest *squared* distance that costs nothing; in squared units of the embedding.
        first_row: the pairs' first member runs over rows [first_row, first_row + num_rows): ranks share the pairs so.
        num_rows: default: all rows from `first_row` on.

    Returns:
        Scalar: the *sum* over ordered pairs (each unordered pair counts twice). No pair, no loss; the gradient is
        finite everywhere, and zero between coincident centers.

    Source:
        Wei et al., "Minimum Margin Loss for Deep Face Recognition", arXiv 1805.06741. Whether the paper squares the
        distance, counts ordered pairs or averages is not verified; see docs/losses.md.
    """
    stop = len(centers_UD) if num_rows is None else first_row + num_rows
    rows_RD = centers_UD[first_row:stop]
    shortfall_RU = (margin - squared_distances(rows_RD, centers_UD)).clamp_min(0.0)
    columns = torch.arange(len(centers_UD), device=centers_UD.device)
    is_self_RU = columns[first_row:stop].unsqueeze(1) == columns
    return shortfall_RU.masked_fill(is_self_RU, 0.0).sum()
