"""How far class centers are from the nearest other one: the margin that Minimum Margin Loss widens.

Shapes: R centers asked for, N rows they are compared with, K of them in a tile, D features.
"""

import torch
from torch import Tensor

_TILE = 2048  # a tile of float64 squared distances takes 32 MiB, two tiles of 512 features 16 MiB


def nearest_center_distances(
    probes_RD: Tensor,
    classes_R: Tensor,
    rows_ND: Tensor,
    first_class: int = 0,
    has_center_N: Tensor | None = None,
    tile: int = _TILE,
) -> Tensor:
    """Euclidean distance of centers to the nearest of some rows of other classes, in the units of the features.

    Works in float64, tile by tile: memory does not grow with R times N. The nearest is found by inner products, then
    its distance is computed from the difference, so that close centers lose no digits.

    Args:
        probes_RD: of any float type, on any device that has float64.
        classes_R: int64, their classes.
        rows_ND: centers of the N classes from `first_class` on; a rank may have only some of all rows.
        has_center_N: which of these classes count; all by default.
        tile: rows and columns of a tile; changes memory, never the result.

    Returns:
        (R,) float64 on the device of the centers; infinite where there is no center of another class.
    """
    parts = zip(probes_RD.detach().split(tile), (classes_R - first_class).split(tile), strict=True)
    counts_N = torch.ones_like(rows_ND[:, 0], dtype=torch.bool) if has_center_N is None else has_center_N
    nearest = [_nearest_of_tile(probes.double(), at, rows_ND.detach(), counts_N, tile) for probes, at in parts]
    return torch.cat(nearest)


def _nearest_of_tile(probes_RD: Tensor, places_R: Tensor, rows_ND: Tensor, counts_N: Tensor, tile: int) -> Tensor:
    best_R = torch.full_like(probes_RD[:, 0], torch.inf)
    nearest_R = torch.zeros_like(places_R)
    for start in range(0, len(rows_ND), tile):
        others_KD = rows_ND[start : start + tile].double()
        # |probe|^2 is the same for every row, so it is left out of the comparison.
        squared_RK = torch.addmm(others_KD.square().sum(dim=1), probes_RD, others_KD.T, alpha=-2.0)
        squared_RK.masked_fill_(~counts_N[start : start + tile], torch.inf)
        is_inside_R = (places_R >= start) & (places_R < start + len(others_KD))
        squared_RK[is_inside_R, places_R[is_inside_R] - start] = torch.inf
        smallest_R, column_R = squared_RK.min(dim=1)
        is_closer_R = smallest_R < best_R
        nearest_R = torch.where(is_closer_R, column_R + start, nearest_R)
        best_R = torch.where(is_closer_R, smallest_R, best_R)
    if not len(rows_ND):
        return best_R
    distances_R: Tensor = torch.linalg.vector_norm(probes_RD - rows_ND[nearest_R].double(), dim=1)
    return torch.where(best_R.isinf(), best_R, distances_R)
