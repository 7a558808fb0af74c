"""The best row of each sample, against loops in float64."""

import pytest
import torch

from lightning_face.evaluation.identification import best_rows


@pytest.mark.parametrize("tile", [1, 3, 5, 100])
def test_equals_loops(tile: int) -> None:
    generator = torch.Generator().manual_seed(3)
    features, rows = torch.randn(7, 4, generator=generator), torch.randn(11, 4, generator=generator)
    offsets = torch.randn(11, generator=generator)
    offsets[5] = -torch.inf
    scores, places = best_rows(features, rows, offsets, tile=tile)
    for feature, score, place in zip(features.double(), scores, places, strict=True):
        of_rows = [float(feature @ row + offset) for row, offset in zip(rows.double(), offsets.double(), strict=True)]
        assert int(place) == of_rows.index(max(of_rows))
        assert float(score) == pytest.approx(max(of_rows))


def test_the_nearest_row_though_norms_are_large() -> None:
    """In float32 the squares, 4e8, would hide differences of 0.2."""
    rows = torch.tensor([[20_000.0, 0.0], [20_000.0, 1.0]])
    offsets = -0.5 * rows.double().square().sum(1)
    features = torch.tensor([[20_000.0, 0.4], [20_000.0, 0.6]])
    assert best_rows(features, rows, offsets)[1].tolist() == [0, 1]


def test_of_equal_rows_the_first_and_of_none_minus_infinity() -> None:
    rows = torch.ones(3, 2)
    assert best_rows(torch.ones(2, 2), rows, torch.zeros(3), tile=2)[1].tolist() == [0, 0]
    scores, places = best_rows(torch.ones(2, 2), rows[:0], torch.zeros(0))
    assert scores.tolist() == [-torch.inf] * 2 and places.tolist() == [0, 0]
