"""Pairs of classes that are closer than a margin, tile by tile: nothing larger than a tile is stored.

One product gives a tile's distances. Only where some are too small does a second one, over the classes concerned, give
the gradient.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_face.losses.at_once import rows_at_once

# Shapes: R and S classes of a tile's two sides, K of the second side that are close, D embedding dimension.


def tiles(rows: range, others_SD: Tensor) -> Iterator[slice]:
    """Cut rows into parts that may meet some others at once: a tile is their distances and themselves."""
    num_others, dim = others_SD.shape
    size = rows_at_once(num_others, dim, others_SD.device)
    for start in rows[::size]:
        yield slice(start, min(start + size, rows.stop))


@dataclass(frozen=True)
class ClassRows:
    """Centers of some classes.

    Args:
        classes_R: int64, sorted, distinct.
        rows_RD: their centers, floating point, constants.
    """

    classes_R: Tensor
    rows_RD: Tensor

    def __len__(self) -> int:
        return len(self.classes_R)

    def __getitem__(self, part: slice) -> "ClassRows":
        return ClassRows(self.classes_R[part], self.rows_RD[part])


def squared_distances(rows_RD: Tensor, others_SD: Tensor) -> Tensor:
    """Squared Euclidean distances (R, S), never negative.

    Distances do not change when all points move together; the mean is taken off first, since the expanded square
    loses digits where norms are large against distances.
    """
    origin_D = rows_RD.mean(dim=0)
    return _expanded_squares(rows_RD - origin_D, others_SD - origin_D)


def _expanded_squares(rows_RD: Tensor, others_SD: Tensor) -> Tensor:
    """||r||^2 - 2 r o + ||o||^2 of points around the origin."""
    squares_R, squares_S = (torch.linalg.vector_norm(points, dim=1).square_() for points in (rows_RD, others_SD))
    squares_RS = torch.addmm(squares_S, rows_RD, others_SD.T, alpha=-2.0)
    return squares_RS.add_(squares_R.unsqueeze(1)).clamp_min_(0.0)


class TileOfPairs:
    """Pairs of one class of each side, without those of a class with itself.

    Attributes:
        smallest_square: smallest squared distance, infinite without pairs.
        close_K: int64, places of the second side's classes that are too close to some class of the first: with training
            they become few, and are all that is looked at again.
        num_close: pairs closer than the margin.
        loss: sum of what these lack of it.

    Args:
        first: R classes, at least one.
        second: S classes, at least one.
        margin: the smallest *squared* distance that costs nothing.
    """

    def __init__(self, first: ClassRows, second: ClassRows, margin: float) -> None:
        origin_D = first.rows_RD.mean(dim=0)
        first_RD, second_SD = first.rows_RD - origin_D, second.rows_RD - origin_D
        squares_RS = _expanded_squares(first_RD, second_SD)
        columns_R1 = torch.searchsorted(second.classes_R, first.classes_R).clamp_max_(len(second) - 1).unsqueeze(1)
        is_self_R1 = second.classes_R[columns_R1] == first.classes_R.unsqueeze(1)
        # By a mask and not by the places of what it holds, which a GPU would have to be waited for.
        squares_RS.scatter_(1, columns_R1, squares_RS.gather(1, columns_R1).masked_fill_(is_self_R1, torch.inf))
        smallest_S = squares_RS.amin(0)
        self.smallest_square = smallest_S.amin()
        self.close_K = (~(smallest_S >= margin)).nonzero().squeeze(1)  # nan is not kept out: the loss must show it
        shortfall_RK = (margin - _taken(squares_RS, 1, self.close_K)).clamp_min_(0.0)
        self.num_close = shortfall_RK.count_nonzero()
        self.loss = shortfall_RK.sum()
        self._is_close_RK = shortfall_RK.sign_()
        self._first_RD, self._second_KD = first_RD, _taken(second_SD, 0, self.close_K)

    def first_gradient(self) -> Tensor:
        """Gradient (R, D) with respect to the first side's rows, each pair taken in both orders."""
        return _gradient(self._is_close_RK, self._first_RD, self._second_KD)

    def second_gradient(self) -> Tensor:
        """Gradient (K, D) with respect to the second side's rows at `close_K`, each pair taken in both orders."""
        return _gradient(self._is_close_RK.T, self._second_KD, self._first_RD)


def _taken(tensor: Tensor, dim: int, places_K: Tensor) -> Tensor:
    """What stands at distinct, sorted places; the tensor itself if that is all of it."""
    return tensor if len(places_K) == tensor.shape[dim] else tensor.index_select(dim, places_K)


def _gradient(weights_RK: Tensor, rows_RD: Tensor, others_KD: Tensor) -> Tensor:
    """Twice the weighted sum over the others o of the gradient of -||r - o||^2 with respect to each row r."""
    pull_RD = weights_RK @ others_KD
    return pull_RD.addcmul_(weights_RK.sum(1, keepdim=True), rows_RD, value=-1.0).mul_(4.0)
