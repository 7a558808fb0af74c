"""Distances to the nearest other center against a float64 loop."""

import pytest
import torch
from torch import Tensor

from lightning_face.errors import DataError
from lightning_face.evaluation.nearest_centers import nearest_center_distances


def centers(classes: int, dim: int = 6) -> Tensor:
    return torch.randn(classes, dim, generator=torch.Generator().manual_seed(0)) * 5.0


def naive(centers_CD: Tensor, row: int) -> float:
    own = centers_CD[row].double()
    others = (other.double() for index, other in enumerate(centers_CD) if index != row)
    return min(float((own - other).square().sum().sqrt()) for other in others)


@pytest.mark.parametrize("tile", [1, 3, 7, 20, 1000])
def test_equals_a_loop_for_any_tile(tile: int) -> None:
    found = nearest_center_distances(centers(20), tile=tile)
    assert found.dtype == torch.float64
    expected = torch.tensor([naive(centers(20), row) for row in range(20)], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0.0)


def test_rows_are_measured_against_all() -> None:
    rows = torch.tensor([13, 2, 2])
    everything = nearest_center_distances(centers(20))
    torch.testing.assert_close(nearest_center_distances(centers(20), rows, tile=2), everything[rows])
    assert nearest_center_distances(centers(20), torch.zeros(0, dtype=torch.int64)).shape == (0,)


def test_close_centers_far_from_the_origin_lose_no_digits() -> None:
    far = torch.full((3, 4), 1000.0, dtype=torch.float64)
    far[1, 0] += 1e-7
    far[2] += 50.0
    expected = float(far[1, 0] - far[0, 0])
    assert nearest_center_distances(far)[:2].tolist() == pytest.approx([expected] * 2, rel=1e-12)


def test_coincident_centers_are_at_zero() -> None:
    same = centers(5)
    same[3] = same[1]
    assert nearest_center_distances(same)[[1, 3]].tolist() == [0.0, 0.0]


def test_bfloat16_and_gradients_are_taken() -> None:
    table = centers(9).bfloat16().requires_grad_()
    found = nearest_center_distances(table)
    assert not found.requires_grad
    torch.testing.assert_close(found, nearest_center_distances(table.detach().double()))


def test_mistakes_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 classes, there are 1"):
        nearest_center_distances(torch.ones(1, 4))
    with pytest.raises(DataError, match="not finite"):
        nearest_center_distances(torch.tensor([[0.0], [float("nan")]]))
