"""How far each class center is from the nearest other one: the margin that Minimum Margin Loss widens.

Shapes: C classes, D features, R rows asked for.
"""

import torch
from torch import Tensor

from lightning_face.errors import DataError

_TILE = 2048  # a tile of float64 squared distances takes 32 MiB, two tiles of 512 features 16 MiB


def nearest_center_distances(centers_CD: Tensor, rows: Tensor | None = None, tile: int = _TILE) -> Tensor:
    """Euclidean distance of centers to the nearest other center, in the units of the features.

    Works in float64, tile by tile: memory does not grow with C squared, time grows with R times C. The nearest is found
    by inner products, then its distance is computed from the difference, so that close centers lose no digits.

    Args:
        centers_CD: (C, D) of any float type, on any device that has float64.
        rows: (R,) int64 ids of the centers to measure, against all C; None measures all.
        tile: rows and columns of a tile; changes memory, never the result.

    Returns:
        (R,) float64 on the device of the centers.

    Raises:
        DataError: fewer than two classes, or a center that is not finite.
    """
    num_classes = len(centers_CD)
    if num_classes < 2:
        raise DataError(f"the nearest other center needs at least 2 classes, there are {num_classes}")
    if not bool(torch.isfinite(centers_CD).all()):
        raise DataError("a class center is not finite; the run has diverged, use an earlier checkpoint")
    ids_R = torch.arange(num_classes, device=centers_CD.device) if rows is None else rows.to(centers_CD.device)
    parts = [_nearest_of_tile(centers_CD.detach(), ids, tile) for ids in torch.split(ids_R, tile)]
    return torch.cat(parts)


def _nearest_of_tile(centers_CD: Tensor, ids_R: Tensor, tile: int) -> Tensor:
    own_RD = centers_CD[ids_R].double()
    best_R = torch.full((len(ids_R),), torch.inf, dtype=torch.float64, device=centers_CD.device)
    nearest_R = torch.zeros_like(ids_R)
    for start in range(0, len(centers_CD), tile):
        others_KD = centers_CD[start : start + tile].double()
        # |own|^2 is the same for every other center of a row, so it is left out of the comparison.
        squared_RK = torch.addmm(others_KD.square().sum(dim=1), own_RD, others_KD.T, alpha=-2.0)
        inside_R = (ids_R >= start) & (ids_R < start + len(others_KD))
        squared_RK[inside_R, ids_R[inside_R] - start] = torch.inf
        smallest_R, column_R = squared_RK.min(dim=1)
        closer_R = smallest_R < best_R
        nearest_R = torch.where(closer_R, column_R + start, nearest_R)
        best_R = torch.where(closer_R, smallest_R, best_R)
    distances_R: Tensor = torch.linalg.vector_norm(own_RD - centers_CD[nearest_R].double(), dim=1)
    return distances_R
