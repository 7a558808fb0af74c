"""Batches that all tests of pair losses look at, and how they are compared with the loops."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_face.losses import Costs
from tests.oracle import assert_close

LABELS = [5, 5, 0, 2, 2, 0, 7, 0, 2, 2]
"""Four, three and two samples of a class, and one alone."""


def example(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Features (10, 3), close enough together that pairs are on both sides of every margin, and labels."""
    features = torch.randn(len(LABELS), 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (0.6 * features).to(dtype).requires_grad_(), torch.tensor(LABELS)


EXTREMES = {
    "equal features": (torch.ones(6, 4), [0, 0, 1, 1, 2, 2]),
    "all zero": (torch.zeros(6, 4), [0, 0, 1, 1, 2, 2]),
    "opposite features": (torch.tensor([[1.0, 0.0], [-1.0, 0.0]] * 3), [0, 1, 0, 1, 0, 1]),
    "opposite within a class": (torch.tensor([[1.0, 0.0], [-1.0, 0.0]] * 3), [0, 0, 1, 1, 2, 2]),
    "one class": (torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), [3] * 6),
    "one sample per class": (torch.randn(6, 4, generator=torch.Generator().manual_seed(2)), [0, 1, 2, 3, 4, 5]),
    "one sample": (torch.ones(1, 4), [0]),
    "tiny distances": (torch.ones(6, 4) + 1e-7 * torch.arange(24).view(6, 4), [0, 0, 1, 1, 2, 2]),
    "squares that underflow": (1e-21 * torch.arange(24.0).view(6, 4), [0, 0, 1, 1, 1, 2]),
    "squares near underflow": (1e-20 * torch.arange(24.0).square().view(6, 4), [0, 0, 1, 1, 1, 2]),
    "large norms": (1e9 * torch.randn(6, 4, generator=torch.Generator().manual_seed(3)), [0, 0, 1, 1, 1, 2]),
}
"""Where a square root, a reciprocal or an empty selection could give nan."""


def extreme(name: str) -> tuple[Tensor, Tensor]:
    """Features in float32 and labels of one of them."""
    features, labels = EXTREMES[name]
    return features.clone().requires_grad_(), torch.tensor(labels)


def assert_value_and_gradient(actual: Tensor, expected: Tensor | float, features: Tensor, slow: Tensor) -> None:
    """Both values, and the gradients with respect to the features that each was calculated from."""
    assert_close(actual, expected)
    (gradient,) = torch.autograd.grad(actual, features, retain_graph=True)
    (slow_gradient,) = torch.autograd.grad(expected, slow, retain_graph=True)
    assert_close(gradient, slow_gradient)


def assert_costs(costs: Costs, expected: Sequence[Tensor], features: Tensor) -> None:
    """Their sum, its gradient, how many they are and how many are not 0."""
    assert costs.counts.tolist() == [len(expected), sum(float(cost.detach()) != 0 for cost in expected)]
    assert_value_and_gradient(costs.total, sum(expected), features, features)


def assert_finite(value: Tensor, features: Tensor) -> None:
    """Neither the value nor its gradient is nan or infinite."""
    assert torch.isfinite(value)
    (gradient,) = torch.autograd.grad(value, features)
    assert torch.isfinite(gradient).all()
