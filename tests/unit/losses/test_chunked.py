"""Scores chunk by chunk, with both passes, against autograd of loops in float64."""

from types import ModuleType

import torch
from torch import Tensor

from lightning_face.losses import LogSumExp, Scoring, SoftplusSum, chunked
from tests.oracle import assert_close, scores_of
from tests.unit.losses.test_scoring import hard_negatives

LABELS = torch.tensor([0, 4, 4, 2, 0, 1])
CHUNKS = [(0, 2), (2, 3), (3, 5)]
"""First class of each chunk, and the one after its last."""


def some(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check(module: ModuleType) -> None:
    check_place_own(module)
    bias = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    for scoring, rows in (
        (Scoring(filter_above=0.6, bias=bias), some(5, 3, seed=2)),
        (Scoring(unit_rows=True, negatives=hard_negatives), some(5, 2, 3, seed=3)),
        (Scoring(negatives=hard_negatives, bias=bias, reduction=SoftplusSum), some(5, 3, seed=4)),
    ):
        check_both_passes(module, scoring, rows)


def check_place_own(module: ModuleType) -> None:
    """Only where a sample's class is in the chunk, wherever else it may be."""
    chunk = module.Chunk(torch.zeros(3, 2), torch.tensor([-1, 0, 2, 3, -7]))
    placed = chunk.place_own_(torch.zeros(5, 3), torch.arange(1.0, 6.0))
    assert placed.tolist() == [[0, 0, 0], [2, 0, 0], [0, 0, 3], [0, 0, 0], [0, 0, 0]]
    assert chunk.place_own_(torch.zeros(5, 3), -torch.inf).isinf().sum() == 2


def check_both_passes(module: ModuleType, scoring: Scoring, rows: Tensor) -> None:
    """The loss is a t^2 + a n of each sample, so that all derivatives differ."""
    factors = torch.linspace(1.0, 2.0, len(LABELS), dtype=torch.float64)
    features, slow_rows = some(6, 3, seed=1).requires_grad_(), rows.clone().requires_grad_()
    slow_targets, slow_negatives = scores_of(features, LABELS, slow_rows, scoring)
    biases = [] if scoring.bias is None else [scoring.bias]
    slow = torch.autograd.grad((slow_targets.square() + slow_negatives) @ factors, [features, slow_rows, *biases])

    targets = slow_targets.detach()
    negatives = module.Negatives(features.detach(), targets, scoring)
    chunks = [module.Chunk(rows[start:end], LABELS - start) for start, end in CHUNKS]
    for chunk in chunks:
        negatives.add(chunk)
    numbers = negatives.over_ranks(lambda own: own, lambda own: own)
    assert_close(numbers, slow_negatives, 1e-9)  # torch takes softplus of 20 and above for its argument
    logits = scoring.logits(scoring.values(features.detach(), rows), targets)
    assert_close(negatives.largest_G, logits.scatter(1, LABELS.unsqueeze(1), -torch.inf).amax(1), 1e-12)

    target_gradient = factors * (2.0 * targets + negatives.target_pull_G)
    own_rows = scoring.best_rows(features.detach(), rows[LABELS])
    pulls = target_gradient.unsqueeze(1) * own_rows + factors.unsqueeze(1) * negatives.pull_GD
    assert_close(pulls, slow[0], 1e-9)
    scored = module.Scored(
        features.detach(), LABELS, scoring.with_constant_bias(), targets, numbers.detach(), target_gradient, factors
    )
    assert_close(torch.cat([module.row_gradient(chunk, scored) for chunk in chunks]), slow[1], 1e-9)
    if biases:
        assert_close(factors @ negatives.bias_pull_G, slow[2], 1e-9)


def test_both_passes_equal_the_loops() -> None:
    check(chunked)


def test_chunks_in_another_order_give_the_same() -> None:
    """The running number is rescaled where a larger logit comes, and only there."""
    features, rows = some(6, 3, seed=1), 5.0 * some(5, 3, seed=2)
    chunks = [chunked.Chunk(rows[start:end], LABELS - start) for start, end in CHUNKS]
    for reduction in (LogSumExp, SoftplusSum):
        results = []
        for order in (chunks, chunks[::-1]):
            negatives = chunked.Negatives(features, features[:, 0], Scoring(reduction=reduction))
            for chunk in order:
                negatives.add(chunk)
            results.append((negatives.over_ranks(lambda own: own, lambda own: own), negatives.pull_GD))
        for one, other in zip(*results, strict=True):
            assert_close(one, other, 1e-12)
