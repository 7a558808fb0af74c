"""Identification in a closed set: which of the known classes a sample is taken for.

Shapes: N samples, R rows, D features.
"""

import torch
from torch import Tensor

_TILE = 2048  # a tile of float64 scores takes 32 MiB


def best_rows(features_ND: Tensor, rows_RD: Tensor, offsets_R: Tensor, tile: int = _TILE) -> tuple[Tensor, Tensor]:
    """The row with the largest inner product plus offset, for each sample; of equal ones the first.

    With offsets of minus half the rows' squared lengths it is the nearest row. Works in float64, tile by tile.

    Args:
        features_ND: floating point.
        rows_RD: on the same device.
        offsets_R: minus infinity for a row that nobody is taken for.
        tile: samples and rows of a tile; changes memory, never the result.

    Returns:
        Scores (N,) float64 and rows (N,) int64; minus infinity and 0 where there is no row.
    """
    best = [_best_of_tile(features.double(), rows_RD, offsets_R, tile) for features in features_ND.split(tile)]
    scores, places = zip(*best, strict=True)
    return torch.cat(scores), torch.cat(places)


def _best_of_tile(features_ND: Tensor, rows_RD: Tensor, offsets_R: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    best_N = torch.full_like(features_ND[:, 0], -torch.inf)
    place_N = torch.zeros_like(best_N, dtype=torch.int64)
    for start in range(0, len(rows_RD), tile):
        rows = rows_RD[start : start + tile].double()
        scores_N, column_N = torch.addmm(offsets_R[start : start + tile].double(), features_ND, rows.T).max(dim=1)
        place_N = torch.where(scores_N > best_N, column_N + start, place_N)
        best_N = torch.maximum(scores_N, best_N)
    return best_N, place_N
