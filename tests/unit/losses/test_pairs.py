"""Distances and pairs against loops; parts of ranks; near and coincident features."""

from types import ModuleType

import pytest
import torch

from lightning_face.losses import at_once, pairs
from tests.oracle import assert_close
from tests.pair_oracles import negative_pairs, positive_pairs, square
from tests.unit.losses.pair_examples import LABELS, assert_value_and_gradient, example


def check(module: ModuleType) -> None:
    """A rank's pairs of the example, with weights that tell all of them apart."""
    features, labels = example()
    own = slice(3, 8)
    some = module.Pairs.of(features, labels, own)
    positive = {(i + 3, j) for i, j in some.is_positive_BG.nonzero().tolist()}
    negative = {(i + 3, j) for i, j in some.is_negative_BG.nonzero().tolist()}
    assert positive == {(i, j) for i, j in positive_pairs(LABELS) if 3 <= i < 8}
    assert negative == {(i, j) for i, j in negative_pairs(LABELS) if 3 <= i < 8}
    weights = torch.arange(50.0, dtype=torch.float64).view(5, 10)
    slow = sum(weights[i - 3, j] * square(features[i], features[j]) for i in range(3, 8) for j in range(10))
    assert_value_and_gradient((weights * some.squares_BG).sum(), slow, features, features)
    costs = module.Costs.of(torch.tensor([0.0, 2.0, 0.5, 7.0, torch.nan]), torch.tensor([1, 1, 1, 0, 0]).bool())
    assert costs.total == 2.5 and costs.counts.tolist() == [3, 2]
    squares = torch.tensor([0.0, 4.0, 9.0], requires_grad=True)
    module.distances_of(squares).sum().backward()
    assert module.distances_of(squares).tolist() == [0.0, 2.0, 3.0]
    assert_close(squares.grad, torch.tensor([0.0, 1 / 4, 1 / 6]))


@pytest.mark.parametrize("numbers_at_once", [1, 30, 70, 10**6])
def test_pairs_equal_the_loop_in_tiles_of_any_size(monkeypatch: pytest.MonkeyPatch, numbers_at_once: int) -> None:
    """Ten features of three numbers: tiles of one row, two and all."""
    monkeypatch.setattr(at_once, "NUMBERS_ON_CPU", numbers_at_once)
    check(pairs)


def test_parts_of_ranks_are_all_pairs_once() -> None:
    features, labels = example()
    whole = pairs.Pairs.of(features, labels, slice(0, 10))
    parts = [pairs.Pairs.of(features, labels, slice(*own)) for own in ((0, 4), (4, 5), (5, 10))]
    for name in ("squares_BG", "is_positive_BG", "is_negative_BG"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert not whole.is_positive_BG.diagonal().any() and not whole.is_negative_BG.diagonal().any()


def test_near_features_keep_their_digits_in_float32() -> None:
    """The expanded square would be off by 1e-7 where these are 1e-8 apart."""
    far = torch.tensor([[1.0, 0.0], [1.0, 1e-4]])
    squares = pairs.Pairs.of(far, torch.tensor([0, 0]), slice(0, 2)).squares_BG
    assert_close(squares, torch.tensor([[0.0, 1e-8], [1e-8, 0.0]]))


def test_derivatives_are_those_of_finite_differences() -> None:
    features, labels = example()
    assert torch.autograd.gradcheck(lambda x: pairs.Pairs.of(x, labels, slice(2, 7)).squares_BG.sin().sum(), features)


def test_distance_of_equal_features_is_0_and_so_is_its_gradient() -> None:
    features = torch.ones(3, 4, requires_grad=True)
    distances = pairs.distances_of(pairs.Pairs.of(features, torch.tensor([0, 0, 1]), slice(0, 3)).squares_BG)
    distances.sum().backward()
    assert not distances.any() and not features.grad.any()


def test_nan_counts_as_a_cost() -> None:
    costs = pairs.Costs.of(torch.tensor([0.0, torch.nan]), torch.tensor([True, True]))
    assert costs.total.isnan() and costs.counts.tolist() == [2, 1]
