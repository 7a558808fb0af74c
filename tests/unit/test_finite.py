"""Numbers that are not finite are found, wherever they are."""

import pytest
import torch

from lightning_face.finite import are_finite


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_broken_number_is_found(broken: float, dtype: torch.dtype) -> None:
    numbers = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert are_finite(numbers)
    for place in ((0, 0), (1, 2), (2, 3)):
        spoilt = numbers.clone()
        spoilt[place] = broken
        assert not are_finite(spoilt)


def test_extremes_of_the_type_are_finite() -> None:
    limits = torch.finfo(torch.float32)
    assert are_finite(torch.tensor([limits.min, limits.max]))


@pytest.mark.parametrize("tensor", [torch.zeros(0), torch.arange(3), torch.tensor(True)])
def test_nothing_and_whole_numbers_are_finite(tensor: torch.Tensor) -> None:
    assert are_finite(tensor)
