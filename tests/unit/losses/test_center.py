"""Center loss and Wen's rule against the paper's equations, and a batch worked out by hand."""

from types import ModuleType

import pytest
import torch

from lightning_face.losses import center_loss, class_sums, moved_centers
from tests.oracle import assert_close, center_sum, moved


def example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    features, centers = torch.randn(7, 3, generator=generator), torch.randn(5, 3, generator=generator)
    return features, torch.tensor([1, 3, 1, 1, 0, 3, 1]), centers


def check(module: ModuleType) -> None:
    features, labels, centers = example()
    features.requires_grad_()
    loss = module.center_loss(features, centers[labels]).sum()
    assert_close(loss, center_sum(features.double(), labels, centers.double()))
    (gradient,) = torch.autograd.grad(loss, features)
    assert_close(gradient, features - centers[labels])
    classes, slots, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    sums = module.class_sums(features, slots, len(classes))
    rows = module.moved_centers(centers[classes], sums, counts, 0.3)
    expected = moved(centers.double(), [(features.double(), labels)], 0.3)
    assert_close(rows, torch.stack(list(expected.values())))


def test_value_equals_the_equation() -> None:
    features, labels, centers = example()
    expected = center_sum(features.double(), labels, centers.double())
    assert_close(center_loss(features, centers[labels]).sum(), expected)


def test_gradient_is_x_minus_c_and_none_goes_to_c() -> None:
    features, labels, centers = example()
    features.requires_grad_()
    centers.requires_grad_()
    center_loss(features, centers[labels]).sum().backward()
    assert_close(features.grad, (features - centers[labels]).detach())
    assert centers.grad is None


def test_gradient_is_that_of_finite_differences() -> None:
    features, labels, centers = example()
    rows = centers.double()[labels]
    assert torch.autograd.gradcheck(lambda x: center_loss(x, rows), features.double().requires_grad_())


def test_class_sums_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0], [10.0, 20.0], [3.0, 4.0]])
    sums = class_sums(features, torch.tensor([2, 0, 2]), 3)
    assert sums.tolist() == [[10.0, 20.0], [0.0, 0.0], [4.0, 6.0]]


def test_class_sums_add_samples_in_their_order() -> None:
    """Also the bits are those of a loop; a class without samples has zeros, and gradients are those of the sum."""
    features = torch.randn(200, 3, generator=torch.Generator().manual_seed(1)).mul_(1e3).requires_grad_()
    slots = torch.arange(200) ** 2 % 11  # squares: half of the classes have no sample
    expected = torch.zeros(12, 3)
    for slot, row in zip(slots.tolist(), features.detach(), strict=True):
        expected[slot] += row
    sums = class_sums(features, slots, 12)
    assert torch.equal(sums, expected)
    weights = torch.randn(12, 3)
    (sums * weights).sum().backward()
    assert torch.equal(features.grad, weights[slots])


def test_wens_rule_by_hand() -> None:
    """Classes with 0, 1 and 3 samples; alpha = 1/2.

    Class 1: c - 1/2 (c - x) / 2 = (2, 0) - 1/4 (2 - 6, 0 - 4) = (3, 1): a quarter of the way, alpha / 2.
    Class 2: sum of c - x = 3 (1, 1) - (9, -3) = (-6, 6), divided by 1 + 3: (-1.5, 1.5); c + (0.75, -0.75).
    """
    centers = torch.tensor([[5.0, -5.0], [2.0, 0.0], [1.0, 1.0]])
    samples = {1: [(6.0, 4.0)], 2: [(1.0, 0.0), (3.0, 1.0), (5.0, -4.0)]}
    sums = torch.tensor([[0.0, 0.0], [6.0, 4.0], [9.0, -3.0]])
    counts = torch.tensor([0, len(samples[1]), len(samples[2])])
    result = moved_centers(centers, sums, counts, rate=0.5)
    assert result.tolist() == [[5.0, -5.0], [3.0, 1.0], [1.75, 0.25]]


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_wens_rule_equals_the_equation(rate: float) -> None:
    features, labels, centers = example()
    classes, slots, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    result = moved_centers(centers[classes], class_sums(features, slots, len(classes)), counts, rate)
    expected = moved(centers.double(), [(features.double(), labels)], rate)
    assert_close(result, torch.stack(list(expected.values())))


def test_full_rate_never_reaches_the_mean() -> None:
    """The 1 in 1 + n keeps a share of the old center: with n samples at x, 1 / (1 + n) of it."""
    result = moved_centers(torch.zeros(1, 1), torch.tensor([[3.0]]), torch.tensor([3]), rate=1.0)
    assert result.item() == 0.75


def test_rule_is_differentiable_in_the_sums_only_by_its_factor() -> None:
    sums = torch.zeros(2, 3, requires_grad=True)
    moved_centers(torch.ones(2, 3), sums, torch.tensor([1, 4]), rate=0.5).sum().backward()
    assert_close(sums.grad, torch.tensor([[0.25] * 3, [0.1] * 3]))
