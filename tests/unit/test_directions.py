"""Vectors of length one, and what becomes of those without a direction."""

from types import ModuleType

import torch
from torch.nn import functional as F

from lightning_face import directions


def check(module: ModuleType) -> None:
    for shape in ((6, 5), (3, 2, 5)):
        check_equals_torch(module, shape)
    for length in (0.0, 1e-30, 1e-13):
        check_without_direction(module, length)
    assert module.unit_vectors(torch.tensor([[torch.nan, 1.0], [torch.inf, 1.0]])).isnan().any(1).all()


def check_equals_torch(module: ModuleType, shape: tuple[int, ...]) -> None:
    """Bit for bit, where there is a direction."""
    vectors = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 10.0 ** torch.arange(-4.0, 1.0)
    ours, theirs = (vectors.clone().requires_grad_() for _ in range(2))
    weights = torch.linspace(-1.0, 2.0, vectors.numel()).view(shape)
    units, expected = module.unit_vectors(ours), F.normalize(theirs, dim=-1)
    assert torch.equal(units, expected)
    (units * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


def check_without_direction(module: ModuleType, length: float) -> None:
    """It is zero, and gets no gradient."""
    vectors = torch.tensor([[0.0, length], [3.0, 4.0]], requires_grad=True)
    assert module.dividing_lengths(vectors).tolist() == [torch.inf, 5.0]
    units = module.unit_vectors(vectors)
    assert torch.equal(units, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    (units @ torch.tensor([1.0, 2.0])).sum().backward()
    assert not vectors.grad[0].any() and vectors.grad[1].all()


def test_vectors_have_length_one_or_zero() -> None:
    check(directions)
