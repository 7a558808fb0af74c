"""Marginal loss against its equation as loops, finite differences and pytorch-metric-learning."""

from types import ModuleType

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import SumReducer

from lightning_face.losses import Pairs, marginal, marginal_loss
from tests import pair_oracles
from tests.unit.losses.pair_examples import (
    EXTREMES,
    LABELS,
    assert_costs,
    assert_finite,
    assert_value_and_gradient,
    example,
    extreme,
)

ALL = slice(0, len(LABELS))
THRESHOLD, MARGIN = 1.2, 0.3


def check(module: ModuleType) -> None:
    features, labels = example()
    costs = module.marginal_loss(Pairs.of(features, labels, ALL), THRESHOLD, MARGIN)
    assert_costs(costs, pair_oracles.marginal(features, LABELS, THRESHOLD, MARGIN), features)


def test_equals_the_equation() -> None:
    check(marginal)


def test_by_hand() -> None:
    """Squares 4 within the class, 1 to the other one from either side; each pair in both orders."""
    pairs = Pairs.of(torch.tensor([[0.0], [2.0], [1.0]]), torch.tensor([0, 0, 1]), slice(0, 3))
    costs = marginal_loss(pairs, 3.0, 0.5)
    assert costs.total == 2 * (0.5 - 3 + 4) + 4 * (0.5 + 3 - 1)
    assert costs.counts.tolist() == [6, 6]


def test_equals_finite_differences() -> None:
    features, labels = example()
    assert torch.autograd.gradcheck(
        lambda x: marginal_loss(Pairs.of(x, labels, ALL), THRESHOLD, MARGIN).total, features
    )


def test_equals_pytorch_metric_learnings_contrastive_loss_on_squares() -> None:
    """(xi - y (theta - d^2))_+ has margins theta - xi and theta + xi there."""
    features, labels = example()
    distance = LpDistance(normalize_embeddings=False, power=2)
    theirs = ContrastiveLoss(THRESHOLD - MARGIN, THRESHOLD + MARGIN, distance=distance, reducer=SumReducer())
    ours = marginal_loss(Pairs.of(features, labels, ALL), THRESHOLD, MARGIN)
    assert_value_and_gradient(ours.total, theirs(features, labels), features, features)


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_give_finite_numbers(name: str) -> None:
    features, labels = extreme(name)
    costs = marginal_loss(Pairs.of(features, labels, slice(0, len(labels))), THRESHOLD, MARGIN)
    assert_finite(costs.total, features)
