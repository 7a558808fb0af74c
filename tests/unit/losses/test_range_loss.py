"""Range loss against its equations as loops, a batch worked out by hand, and finite differences."""

from types import ModuleType

import pytest
import torch

from lightning_face.losses import inter_class_loss, intra_class_ranges, nearest_means, range_loss
from tests import pair_oracles
from tests.oracle import assert_close
from tests.unit.losses.pair_examples import (
    EXTREMES,
    LABELS,
    assert_finite,
    assert_value_and_gradient,
    example,
    extreme,
)


def check(module: ModuleType) -> None:
    features, labels = example()
    weights = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    for num_largest, squared in ((2, True), (3, False), (1, True)):
        expected = pair_oracles.ranges(features, LABELS, num_largest, squared=squared)
        ranges = module.intra_class_ranges(features, labels, num_largest, squared=squared)
        assert ranges.shape == (3,)
        slow = sum(weight * value for weight, value in zip(weights, expected, strict=True))
        assert_value_and_gradient((weights * ranges).sum(), slow, features, features)
    for classes in (LABELS, [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]):
        square = module.nearest_means(features, torch.tensor(classes))
        assert_value_and_gradient(square, pair_oracles.nearest_means(features, classes), features, features)
    assert module.nearest_means(features, torch.zeros_like(labels)) == torch.inf
    assert [float(module.inter_class_loss(torch.tensor(square), 2.0)) for square in (0.5, 2.5)] == [1.5, 0.0]


def test_equals_the_equations() -> None:
    check(range_loss)


def test_by_hand() -> None:
    """Class 0 at 0, 1, 3: squares 1, 4, 9; class 1 at 10, 12: one square, 4; class 2 alone at 20."""
    features = torch.tensor([[0.0], [10.0], [1.0], [20.0], [3.0], [12.0]])
    labels = torch.tensor([0, 1, 0, 2, 0, 1])
    assert_close(intra_class_ranges(features, labels, 2, squared=True), torch.tensor([2 / (1 / 9 + 1 / 4), 4.0]))
    assert_close(intra_class_ranges(features, labels, 2, squared=False), torch.tensor([2 / (1 / 3 + 1 / 2), 2.0]))
    assert_close(nearest_means(features, labels), 9.0**2)
    assert_close(inter_class_loss(nearest_means(features, labels), 100.0), 19.0)


def test_the_gradient_of_squares_is_the_published_one() -> None:
    """2 k (a - b) / (D_j (sum of 1 / D))^2 for the ends a and b of the j-th largest; here alone in their pairs."""
    features = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (value,) = intra_class_ranges(features, torch.tensor([0, 0, 0]), 2, squared=True)  # squares 10 and 9, not 1
    value.backward()
    reciprocals = 1 / 10 + 1 / 9
    to_first = 2 * 2 * (features[1] - features[0]).detach() / (9 * reciprocals) ** 2
    assert_close(features.grad[1], to_first)


def test_equals_finite_differences() -> None:
    features, labels = example()
    for squared in (True, False):
        assert torch.autograd.gradcheck(
            lambda x, squared=squared: intra_class_ranges(x, labels, 2, squared=squared), features
        )
    assert torch.autograd.gradcheck(lambda x: inter_class_loss(nearest_means(x, labels), 30.0), features)


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_give_finite_numbers(name: str) -> None:
    features, labels = extreme(name)
    for squared in (True, False):
        assert_finite(intra_class_ranges(features, labels, 2, squared=squared).sum(), features)
    if len(labels.unique()) > 1:
        assert_finite(inter_class_loss(nearest_means(features, labels), 20.0), features)
    else:
        assert inter_class_loss(nearest_means(features, labels), 20.0) == 0


def test_two_equal_features_of_a_class_are_the_limit_of_near_ones() -> None:
    """Of three samples, two equal: the two largest squares are the same; the third is 0, and so is the mean."""
    features = torch.tensor([[0.0], [0.0], [2.0]], requires_grad=True)
    (value,) = intra_class_ranges(features, torch.tensor([0, 0, 0]), 2, squared=True)
    assert value.item() == 4.0
    (value,) = intra_class_ranges(features, torch.tensor([0, 0, 0]), 3, squared=True)
    value.backward()
    assert value.item() == 0.0 and not features.grad.any()


def test_a_feature_that_is_nan_shows() -> None:
    features, labels = example()
    features = features.detach().clone()
    features[1] = torch.nan
    assert intra_class_ranges(features, labels, 2, squared=True).sum().isnan()
