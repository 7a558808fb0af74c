"""Distances to the nearest other center against a float64 loop."""

import pytest
import torch
from torch import Tensor

from lightning_face.evaluation.nearest_centers import nearest_center_distances


def centers(classes: int, dim: int = 6) -> Tensor:
    return torch.randn(classes, dim, generator=torch.Generator().manual_seed(0)) * 5.0


def naive(centers_CD: Tensor, row: int) -> float:
    own = centers_CD[row].double()
    others = (other.double() for index, other in enumerate(centers_CD) if index != row)
    return min(float((own - other).square().sum().sqrt()) for other in others)


def measured(centers_CD: Tensor, classes: list[int] | None = None, tile: int = 2048) -> Tensor:
    """Centers, all by default, against every other."""
    chosen = torch.tensor(range(len(centers_CD)) if classes is None else classes, dtype=torch.int64)
    return nearest_center_distances(centers_CD[chosen], chosen, centers_CD, tile=tile)


@pytest.mark.parametrize("tile", [1, 3, 7, 20, 1000])
def test_equals_a_loop_for_any_tile(tile: int) -> None:
    found = measured(centers(20), tile=tile)
    assert found.dtype == torch.float64
    expected = torch.tensor([naive(centers(20), row) for row in range(20)], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0.0)


def test_some_are_measured_against_all() -> None:
    everything = measured(centers(20))
    torch.testing.assert_close(measured(centers(20), [13, 2, 2], tile=2), everything[[13, 2, 2]])
    assert measured(centers(20), []).shape == (0,)


@pytest.mark.parametrize("blocks", [[7, 13], [1, 19], [0, 20], [5, 5, 10]])
def test_the_nearest_of_several_blocks_of_rows_is_the_nearest_of_all(blocks: list[int]) -> None:
    table, classes = centers(20), torch.tensor([3, 0, 19, 7])
    found = [
        nearest_center_distances(table[classes], classes, rows, first, tile=4)
        for rows, first in zip(table.split(blocks), torch.tensor([0, *blocks]).cumsum(0).tolist(), strict=False)
    ]
    torch.testing.assert_close(torch.stack(found).amin(0), measured(table)[classes])


@pytest.mark.parametrize("tile", [1, 4, 1000])
def test_classes_without_a_center_are_nobodys_nearest(tile: int) -> None:
    table, there = centers(20), torch.arange(20) % 3 == 1
    found = nearest_center_distances(table[there], there.nonzero().squeeze(1), table, has_center_N=there, tile=tile)
    torch.testing.assert_close(found, measured(table[there]))


def test_alone_it_is_infinitely_far_away() -> None:
    assert measured(centers(1)).tolist() == [float("inf")]


def test_close_centers_far_from_the_origin_lose_no_digits() -> None:
    far = torch.full((3, 4), 1000.0, dtype=torch.float64)
    far[1, 0] += 1e-7
    far[2] += 50.0
    expected = float(far[1, 0] - far[0, 0])
    assert measured(far)[:2].tolist() == pytest.approx([expected] * 2, rel=1e-12)


def test_coincident_centers_are_at_zero() -> None:
    same = centers(5)
    same[3] = same[1]
    assert measured(same)[[1, 3]].tolist() == [0.0, 0.0]


def test_bfloat16_and_gradients_are_taken() -> None:
    table = centers(9).bfloat16().requires_grad_()
    found = measured(table)
    assert not found.requires_grad
    torch.testing.assert_close(found, measured(table.detach().double()))
