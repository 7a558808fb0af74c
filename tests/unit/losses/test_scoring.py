"""Scores with all logits at once against loops over samples and classes in float64; more of it on W ranks."""

from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor

from lightning_face.losses import LogSumExp, SoftplusSum, scoring
from lightning_face.losses.reductions import OF_NOTHING
from tests.oracle import assert_close, is_first_of, scores_of

LABELS = torch.tensor([0, 4, 4, 2, 0, 1])


def hard_negatives(values: Tensor, targets: Tensor) -> Tensor:
    return torch.where(values > targets - 0.2, values * (values + 0.5 * targets), 2.0 * values)


def examples(module: ModuleType) -> Iterator[tuple["scoring.Scoring", Tensor, Tensor]]:
    """Ways of scoring, features and rows."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(len(LABELS), 3, generator=generator, dtype=torch.float64)
    rows = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    sub_centers = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64)
    bias = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    yield module.Scoring(), features, rows
    yield module.Scoring(unit_rows=True, bias=bias, reduction=SoftplusSum), features, rows
    yield module.Scoring(negatives=hard_negatives, filter_above=2.0), features, sub_centers
    yield (
        module.Scoring(unit_features=True, unit_rows=True, negatives=hard_negatives, filter_above=0.6),
        features,
        sub_centers,
    )


def check(module: ModuleType) -> None:
    for how, features, rows in examples(module):
        check_scores(how, features, rows)
        check_best_rows(how, features, rows)
    check_constant_bias(module)
    check_one_class(module)
    check_rows_of_zeros(module)


def check_scores(how: "scoring.Scoring", features: Tensor, rows: Tensor) -> None:
    leaves, slow_leaves = ([features.clone().requires_grad_(), rows.clone().requires_grad_()] for _ in range(2))
    scores = how.scores(leaves[0], LABELS, leaves[1])
    directions = slow_leaves[0] / slow_leaves[0].square().sum(1, keepdim=True).sqrt()
    prepared = directions if how.unit_features else slow_leaves[0]
    targets, negatives = scores_of(prepared, LABELS, slow_leaves[1], how)
    assert_close(scores.targets_B, targets, 1e-12)
    assert_close(scores.negatives_B, negatives, 1e-12)
    assert not scores.largest_B.requires_grad
    assert torch.equal(how.is_first(scores), is_first_of(prepared, LABELS, slow_leaves[1], how))
    biases = [] if how.bias is None else [how.bias]
    weights = torch.linspace(1.0, 2.0, len(LABELS), dtype=torch.float64)
    gradients = torch.autograd.grad((scores.targets_B.square() + scores.negatives_B) @ weights, [*leaves, *biases])
    slow = torch.autograd.grad((targets.square() + negatives) @ weights, [*slow_leaves, *biases])
    for gradient, expected in zip(gradients, slow, strict=True):
        assert_close(gradient, expected, 1e-12)


def check_best_rows(how: "scoring.Scoring", features: Tensor, rows: Tensor) -> None:
    """With them the value of each sample's own class is a product."""
    prepared = how.prepared(features)
    best = how.best_rows(prepared, rows[LABELS])
    assert_close((prepared * best).sum(1), how.scores(features, LABELS, rows).targets_B, 1e-12)


def check_constant_bias(module: ModuleType) -> None:
    """It stays what it was when the bias moves, and has no gradient."""
    bias = torch.tensor(0.5, requires_grad=True)
    constant = module.Scoring(bias=bias).with_constant_bias()
    bias.data += 1.0
    assert constant.bias.item() == 0.5 and not constant.bias.requires_grad
    plain = module.Scoring()
    assert plain.with_constant_bias() is plain


def check_one_class(module: ModuleType) -> None:
    """Without a negative nothing is near, and nothing nan."""
    features, row = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, -1.0]], requires_grad=True)
    for reduction, number in ((LogSumExp, OF_NOTHING), (SoftplusSum, 0.0)):
        how = module.Scoring(reduction=reduction)
        scores = how.scores(features, torch.tensor([0]), row)
        assert scores.negatives_B <= number and scores.largest_B == OF_NOTHING
        assert how.is_first(scores).tolist() == [True]
        (gradient,) = torch.autograd.grad(scores.targets_B + scores.negatives_B, row)
        assert_close(gradient, features)


def check_rows_of_zeros(module: ModuleType) -> None:
    """They have the value 0 and no gradient; of equal rows of a class one has it."""
    how = module.Scoring(unit_rows=True)
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    features = torch.tensor([[1.0, 2.0]], requires_grad=True)
    values = how.values(features, rows)
    assert_close(values, torch.tensor([[0.0, 0.6 * 1.0 + 0.8 * 2.0]]))
    row_gradient, feature_gradient = torch.autograd.grad(values.sum(), (rows, features))
    assert not row_gradient[0].any() and row_gradient[1].any()
    assert_close(feature_gradient, torch.tensor([[0.6, 0.8]]))
    assert not how.best_rows(features, torch.zeros(1, 2)).any()
    equal = torch.ones(1, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(how.values(features.detach(), equal).sum(), equal)
    assert gradient.any(2).sum() == 1


def test_scores_equal_the_loops() -> None:
    check(scoring)


def test_the_examples_have_what_scores_tell_apart() -> None:
    """Of each filter some negatives are ignored; some samples are nearest to their own class."""
    are_first = []
    for how, features, rows in examples(scoring):
        values = how.values(how.prepared(features), rows)
        assert how.filter_above is None or 0 < (values > how.filter_above).sum() < values.numel() / 2
        are_first.append(how.is_first(how.scores(features, LABELS, rows)))
    assert 6 < torch.cat(are_first).sum() < 18
