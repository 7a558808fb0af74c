"""Every way of scoring, on W ranks and in every kind of table, against loops over samples and classes in float64."""

from functools import cache
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.distributed.world import rank, world_size
from lightning_face.hashing import uniform
from lightning_face.losses import LogSumExp, NegativesReduction, Scoring, SoftplusSum, at_once
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.tables.placement import Classifier, make_classifier
from tests.oracle import assert_close, is_first_of, scores_of
from tests.ranks import run_ranks

DIM, GLOBAL_BATCH, SEED, RATE = 4, 6, 5, 0.5

LABELS = {
    7: [0, 1, 5, 0, 6, 5],  # three ranks hold 2, 2 and 3 classes; the second holds none of the batch
    2: [0, 1, 1, 0, 0, 1],  # of three ranks the first holds no class
}


class Case(NamedTuple):
    """A way of scoring, and the table and classes that it works on."""

    num_classes: int
    rows_per_class: int
    unit_rows: bool
    is_hard: bool
    reduction: type[NegativesReduction]
    is_sampled: bool


class Outcome(NamedTuple):
    """Of one step; the bias is None where there is none, its gradient is that of this rank's part."""

    targets: Tensor
    negatives: Tensor
    is_first: Tensor
    feature_gradient: Tensor
    row_gradient: Tensor
    bias_gradient: Tensor | None


REDUCTIONS = (LogSumExp, SoftplusSum)
CASES = [Case(7, *case) for case in product((1, 3), (False, True), (False, True), REDUCTIONS, (False, True))]
CASES += [Case(2, *case, True, LogSumExp, False) for case in product((1, 3), (False, True))]
CASES += [case._replace(reduction=SoftplusSum) for case in CASES if case.num_classes == 2]


def hard_negatives(values: Tensor, targets: Tensor) -> Tensor:
    """A negative closer than the own class less a margin counts more: its logit depends on both values."""
    return torch.where(values > targets - 0.2, values * (values + 0.5 * targets), values) * 4.0


def scoring_of(case: Case, dtype: torch.dtype) -> Scoring:
    bias = torch.tensor(-1.5, dtype=dtype, requires_grad=True) if case.reduction is SoftplusSum else None
    negatives = hard_negatives if case.is_hard else None
    return Scoring(unit_rows=case.unit_rows, negatives=negatives, bias=bias, reduction=case.reduction)


def loss_of(targets: Tensor, negatives: Tensor, scoring: Scoring) -> Tensor:
    """With a margin on the own class: ArcFace's angle for cosines, a curve otherwise; one softmax, or binary losses."""
    margined = 4.0 * ((targets.acos() + 0.5).cos() if scoring.unit_rows else targets - 0.1 * targets.square())
    if scoring.bias is None:
        return F.softplus(negatives - margined).sum()
    return (F.softplus(-margined - scoring.bias) + 0.7 * negatives).sum()


def global_features(case: Case) -> Tensor:
    features = torch.randn(GLOBAL_BATCH, DIM, generator=torch.Generator().manual_seed(7))
    return F.normalize(features) if case.unit_rows else features


def make_table(case: Case, is_sharded: bool) -> Classifier:
    return make_classifier(
        "sharded" if is_sharded else "replicated",
        case.num_classes,
        DIM,
        sample_rate=RATE if case.is_sampled else 1.0,
        rows_per_class=case.rows_per_class,
        optimizer=RowOptimizerConfig(momentum=0.0, weight_decay=0.0),
        init_std=1.0,
        seed=SEED,
        device=torch.device("cpu"),
    )


def step_of(case: Case, is_sharded: bool) -> Outcome:
    """One step of this rank's samples and rows."""
    table, scoring = make_table(case, is_sharded), scoring_of(case, torch.float32)
    size = GLOBAL_BATCH // world_size()
    own = slice(rank() * size, (rank() + 1) * size)
    leaf = global_features(case)[own].clone().requires_grad_()
    scores = table.scores(GlobalBatch(leaf, torch.tensor(LABELS[case.num_classes])[own]), scoring)
    targets, negatives, _ = scores
    is_first = scoring.is_first(scores)
    loss_of(targets, negatives, scoring).backward()
    if scoring.bias is not None:
        scoring.bias.data += 1.0  # its optimizer may step before the table does
    before = table.state()["classifier"].clone()
    table.step(1.0)
    moved = before - table.state()["classifier"]
    bias_gradient = None if scoring.bias is None else scoring.bias.grad
    return Outcome(targets.detach(), negatives.detach(), is_first, leaf.grad, moved, bias_gradient)


def steps(cases: list[tuple[Case, bool]]) -> list[Outcome]:
    at_once.NUMBERS_ON_CPU = at_once.NUMBERS_ON_GPU = 2 * GLOBAL_BATCH  # two classes a chunk, of three rows one
    return [step_of(*case) for case in cases]


@cache
def oracle_of(case: Case) -> Outcome:
    features = global_features(case).double().requires_grad_()
    labels = torch.tensor(LABELS[case.num_classes])
    rows = make_table(case._replace(is_sampled=False), is_sharded=False).state()["classifier"].double().requires_grad_()
    scoring = scoring_of(case, torch.float64)
    numbers = uniform(SEED, "sampled", 0, torch.arange(case.num_classes).numpy())
    seen = [c for c, number in enumerate(numbers) if not case.is_sampled or number < RATE or c in labels]
    targets, negatives = scores_of(features, labels, rows, scoring, seen)
    loss_of(targets, negatives, scoring).backward()
    bias_gradient = None if scoring.bias is None else scoring.bias.grad
    is_first = is_first_of(features, labels, rows, scoring, seen)
    return Outcome(targets.detach(), negatives.detach(), is_first, features.grad, rows.grad, bias_gradient)


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_every_way_of_scoring_equals_the_loops(num_ranks: int) -> None:
    cases = [(case, is_sharded) for case in CASES for is_sharded in ((True,) if case.is_sampled else (False, True))]
    by_rank = run_ranks(steps, num_ranks, cases)
    for (case, is_sharded), *outcomes in zip(cases, *by_rank, strict=True):
        expected = oracle_of(case)
        for name in ("targets", "negatives", "feature_gradient"):
            assert_close(torch.cat([getattr(outcome, name) for outcome in outcomes]), getattr(expected, name))
        assert torch.equal(torch.cat([outcome.is_first for outcome in outcomes]), expected.is_first)
        if expected.bias_gradient is not None:
            assert_close(sum(outcome.bias_gradient for outcome in outcomes), expected.bias_gradient)
        rows = [outcome.row_gradient for outcome in outcomes]
        for gradient in [torch.cat(rows)] if is_sharded else rows:
            assert_close(gradient, expected.row_gradient)


def test_the_cases_are_what_they_are_for() -> None:
    """Some class is not sampled, some hard negatives are hard, some rows and samples are beaten by others."""
    sampled, hard = (Case(7, 3, False, True, SoftplusSum, is_sampled) for is_sampled in (True, False))
    assert (oracle_of(sampled).row_gradient == 0).all(2).all(1).any()
    assert not torch.equal(oracle_of(hard).negatives, oracle_of(hard._replace(is_hard=False)).negatives)
    assert (oracle_of(hard).row_gradient == 0).all(2).any()
    assert all(0 < oracle_of(case).is_first.sum() < GLOBAL_BATCH for case in CASES if case.num_classes == 7)
