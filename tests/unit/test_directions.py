"""Vectors of length one, and what becomes of those without a direction."""

import pytest
import torch
from torch.nn import functional as F

from lightning_face.directions import dividing_lengths, unit_vectors


@pytest.mark.parametrize("shape", [(6, 5), (3, 2, 5)])
def test_equal_torch_bit_for_bit_where_there_is_a_direction(shape: tuple[int, ...]) -> None:
    vectors = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 10.0 ** torch.arange(-4.0, 1.0)
    ours, theirs = (vectors.clone().requires_grad_() for _ in range(2))
    weights = torch.linspace(-1.0, 2.0, vectors.numel()).view(shape)
    units = unit_vectors(ours)
    expected = F.normalize(theirs, dim=-1)
    assert torch.equal(units, expected)
    (units * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-13])
def test_what_has_no_direction_is_zero_and_gets_no_gradient(length: float) -> None:
    vectors = torch.tensor([[0.0, length], [3.0, 4.0]], requires_grad=True)
    units = unit_vectors(vectors)
    assert units.tolist() == [[0.0, 0.0], pytest.approx([0.6, 0.8])]
    (units @ torch.tensor([1.0, 2.0])).sum().backward()
    assert vectors.grad[0].tolist() == [0.0, 0.0] and vectors.grad[1].abs().min() > 0
    assert dividing_lengths(vectors).tolist() == [torch.inf, 5.0]


def test_what_is_not_finite_stays_so() -> None:
    assert unit_vectors(torch.tensor([[torch.nan, 1.0], [torch.inf, 1.0]])).isnan().any(1).all()
