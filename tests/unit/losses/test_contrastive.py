"""Contrastive loss against Hadsell's equation as loops, finite differences and pytorch-metric-learning."""

from types import ModuleType

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import DoNothingReducer

from lightning_face.losses import Pairs, contrastive, contrastive_loss, separating_distance
from tests import pair_oracles
from tests.oracle import assert_close
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
MARGIN = 1.3


def check(module: ModuleType) -> None:
    features, labels = example()
    costs = module.contrastive_loss(Pairs.of(features, labels, ALL), MARGIN)
    for actual, expected in zip(costs, pair_oracles.contrastive(features, LABELS, MARGIN), strict=True):
        assert actual.counts[1] > 0
        assert_costs(actual, expected, features)
    for factor in (1.0, 3.0):  # of one coordinate, so that another pair is the best border
        stretched = features.detach() * torch.tensor([factor, 1.0, 1.0])
        pairs = Pairs.of(stretched, labels, ALL)
        distance = module.separating_distance(pairs.squares_BG, pairs.is_positive_BG, pairs.is_negative_BG)
        assert_close(distance, pair_oracles.separating_distance(stretched, LABELS))
    # A positive pair as far as both negative ones: they come together, at more errors than without them.
    is_positive = torch.tensor([True, True, False, False])
    assert module.separating_distance(torch.tensor([0.25, 1.0, 1.0, 1.0]), is_positive, ~is_positive) == 0.5


def test_equals_the_equation() -> None:
    check(contrastive)


def test_by_hand() -> None:
    """Distances 3 within the class, 1 and 2 to the other one; margin 1.5; each pair in both orders."""
    pairs = Pairs.of(torch.tensor([[0.0], [3.0], [1.0]]), torch.tensor([0, 0, 1]), slice(0, 3))
    positive, negative = contrastive_loss(pairs, 1.5)
    assert positive.total == 2 * 9 / 2 and positive.counts.tolist() == [2, 2]
    assert negative.total == 2 * 0.5**2 / 2 and negative.counts.tolist() == [4, 2]


@pytest.mark.parametrize(
    ("features", "labels", "expected"),
    [
        ([0.0, 1.0, 10.0, 12.0], [0, 0, 1, 1], 2.0),  # all are told apart; the smallest such distance
        ([0.0, 3.0, 1.0, 4.0], [0, 0, 1, 1], 3.0),  # negatives at 1, 4, 2 and 1
        ([5.0, 5.0, 5.0], [0, 0, 1], 0.0),
        ([0.0, 1.0, 2.0], [0, 1, 2], 0.0),
        ([0.0, 1.0, 2.0], [4, 4, 4], 0.0),
        ([0.0, 1.0, -1.0, 9.0], [0, 0, 1, 2], 1.0),  # a negative as far as the positive counts as an error
    ],
)
def test_separating_distance_by_hand(features: list[float], labels: list[int], expected: float) -> None:
    pairs = Pairs.of(torch.tensor(features).unsqueeze(1), torch.tensor(labels), slice(0, len(labels)))
    assert separating_distance(pairs.squares_BG, pairs.is_positive_BG, pairs.is_negative_BG) == expected


def test_equals_finite_differences() -> None:
    features, labels = example()
    for kind in (0, 1):
        assert torch.autograd.gradcheck(
            lambda x, kind=kind: contrastive_loss(Pairs.of(x, labels, ALL), MARGIN)[kind].total, features
        )


def test_is_half_the_square_of_the_hinges_of_pytorch_metric_learning() -> None:
    """Its loss takes the hinges themselves, d and max(0, margin - d)."""
    features, labels = example()
    distance = LpDistance(normalize_embeddings=False)
    theirs = ContrastiveLoss(neg_margin=MARGIN, distance=distance, reducer=DoNothingReducer())(features, labels)
    ours = contrastive_loss(Pairs.of(features, labels, ALL), MARGIN)
    for costs, name in zip(ours, ("pos_loss", "neg_loss"), strict=True):
        assert_value_and_gradient(costs.total, theirs[name]["losses"].square().sum() / 2, features, features)


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_give_finite_numbers(name: str) -> None:
    features, labels = extreme(name)
    positive, negative = contrastive_loss(Pairs.of(features, labels, slice(0, len(labels))), 1.0)
    assert_finite(positive.total + negative.total, features)
