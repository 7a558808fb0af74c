"""Triplet losses against loops over all triplets, finite differences and pytorch-metric-learning."""

from functools import cache
from types import ModuleType
from typing import get_args

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchEasyHardMiner, BatchHardMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, SumReducer
from torch import Tensor

from lightning_face.losses import Mining, Pairs, given_triplet_loss, triplet, triplet_loss
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
MININGS = get_args(Mining)


@cache
def slow(mining: str, margin: float | None, squared: bool) -> tuple[Tensor, list[Tensor]]:
    features, _ = example()
    return features, pair_oracles.triplet(features, of(mining), mining, margin, squared=squared)


def of(mining: str) -> list[int]:
    """Labels of the samples that are looked at: triplets that are given come in threes."""
    return LABELS[:9] if mining == "offline" else LABELS


def check_given(module: ModuleType, margin: float | None, *, squared: bool) -> None:
    features, expected = slow("offline", margin, squared)
    costs = module.given_triplet_loss(features[:9].unflatten(0, (3, 3)), margin=margin, squared=squared)
    assert_costs(costs, expected, features)


def check(module: ModuleType) -> None:
    for mining, margin, squared in [
        *((mining, 0.2, True) for mining in MININGS),
        ("batch_hard", None, False),
        ("batch_all", None, True),
    ]:
        features, expected = slow(mining, margin, squared)
        pairs = Pairs.of(features, torch.tensor(LABELS), ALL)
        assert_costs(module.triplet_loss(pairs, mining, margin=margin, squared=squared), expected, features)
    check_given(module, 0.2, squared=True)
    check_given(module, None, squared=False)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("margin", [0.2, None])
@pytest.mark.parametrize("mining", MININGS)
def test_equals_the_equation(mining: Mining, margin: float | None, squared: bool) -> None:
    features, expected = slow(mining, margin, squared)
    pairs = Pairs.of(features, torch.tensor(LABELS), ALL)
    assert_costs(triplet_loss(pairs, mining, margin=margin, squared=squared), expected, features)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("margin", [0.2, None])
def test_triplets_that_are_given_equal_the_equation(margin: float | None, squared: bool) -> None:
    check_given(triplet, margin, squared=squared)


@pytest.mark.parametrize(
    ("mining", "excesses"),
    [
        # Anchor 0 (positive at 2; negatives at 1 and 3), anchor 2 (positive at 2; negatives at 1 and 1).
        ("semi_hard", [2 - 3]),
        ("hardest_negative", [2 - 1, 2 - 1]),
        ("batch_hard", [2 - 1, 2 - 1]),
        ("batch_all", [2 - 1, 2 - 3, 2 - 1, 2 - 1]),
    ],
)
def test_by_hand(mining: Mining, excesses: list[int]) -> None:
    pairs = Pairs.of(torch.tensor([[0.0], [2.0], [1.0], [3.0]]), torch.tensor([0, 0, 1, 2]), slice(0, 4))
    costs = triplet_loss(pairs, mining, margin=0.5, squared=False)
    singles = [max(0.0, excess + 0.5) for excess in excesses]
    assert costs.total == sum(singles)
    assert costs.counts.tolist() == [len(singles), sum(single > 0 for single in singles)]


def test_a_negative_as_far_as_the_positive_is_not_semi_hard() -> None:
    pairs = Pairs.of(torch.tensor([[0.0], [2.0], [-2.0]]), torch.tensor([0, 0, 1]), slice(0, 1))
    assert triplet_loss(pairs, "semi_hard", margin=0.5, squared=True).counts.tolist() == [0, 0]


@pytest.mark.parametrize("mining", MININGS)
def test_equals_finite_differences(mining: Mining) -> None:
    features, labels = example()
    for margin, squared in ((0.2, True), (None, False)):
        assert torch.autograd.gradcheck(
            lambda x, margin=margin, squared=squared: (
                triplet_loss(Pairs.of(x, labels, ALL), mining, margin=margin, squared=squared).total
            ),
            features,
        )


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("margin", [0.2, None])
def test_batch_all_and_batch_hard_equal_pytorch_metric_learning(margin: float | None, squared: bool) -> None:
    """Its means are over non-zero costs; with the soft margin all are, and it is called smooth there."""
    features, labels = example()
    distance = LpDistance(normalize_embeddings=False, power=2 if squared else 1)
    theirs = TripletMarginLoss(
        margin or 0.0, smooth_loss=margin is None, distance=distance, reducer=AvgNonZeroReducer()
    )
    pairs = Pairs.of(features, labels, ALL)
    hard = BatchHardMiner(distance=distance)(features, labels)
    for mining, chosen in (("batch_all", None), ("batch_hard", hard)):
        costs = triplet_loss(pairs, mining, margin=margin, squared=squared)
        assert_value_and_gradient(costs.total / costs.counts[1], theirs(features, labels, chosen), features, features)


def test_hardest_negative_equals_pytorch_metric_learning() -> None:
    features, labels = example()
    distance = LpDistance(normalize_embeddings=False, power=2)
    chosen = BatchEasyHardMiner(pos_strategy="all", neg_strategy="hard", distance=distance)(features, labels)
    theirs = TripletMarginLoss(0.5, distance=distance, reducer=SumReducer())
    ours = triplet_loss(Pairs.of(features, labels, ALL), "hardest_negative", margin=0.5, squared=True)
    assert len(chosen[0]) == ours.counts[0] > 0
    assert_value_and_gradient(ours.total, theirs(features, labels, chosen), features, features)


def test_semi_hard_equals_pytorch_metric_learning_on_the_nearest() -> None:
    """Its miner returns all semi-hard negatives of a pair that are within the margin; ours is the nearest of them."""
    features, labels = example()
    distance = LpDistance(normalize_embeddings=False, power=2)
    chosen = TripletMarginMiner(margin=1.0, type_of_triplets="semihard", distance=distance)(features, labels)
    squares = distance(features.detach())
    nearest = {}
    for a, p, n in zip(*(places.tolist() for places in chosen), strict=True):
        _, _, other = nearest.get((a, p), (a, p, n))
        nearest[a, p] = (a, p, min(n, other, key=lambda j: float(squares[a, j])))
    assert len(nearest) < len(chosen[0])
    theirs = TripletMarginLoss(1.0, distance=distance, reducer=SumReducer())
    ours = triplet_loss(Pairs.of(features, labels, ALL), "semi_hard", margin=1.0, squared=True)
    expected = theirs(features, labels, tuple(torch.tensor(places) for places in zip(*nearest.values(), strict=True)))
    assert int(ours.counts[1]) == len(nearest)
    assert_value_and_gradient(ours.total, expected, features, features)


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("mining", MININGS)
def test_extremes_give_finite_numbers(mining: Mining, name: str) -> None:
    features, labels = extreme(name)
    for margin, squared in ((0.2, True), (0.2, False), (None, False)):
        pairs = Pairs.of(features, labels, slice(0, len(labels)))
        assert_finite(triplet_loss(pairs, mining, margin=margin, squared=squared).total, features)
        given = features[: len(features) // 3 * 3].unflatten(0, (-1, 3))
        assert_finite(given_triplet_loss(given, margin=margin, squared=squared).total, features)


@pytest.mark.parametrize("mining", MININGS)
def test_a_feature_that_is_nan_shows_in_the_loss(mining: Mining) -> None:
    features, labels = example()
    features = features.detach().clone()
    features[1] = torch.nan
    assert triplet_loss(Pairs.of(features, labels, ALL), mining, margin=0.2, squared=True).total.isnan()
