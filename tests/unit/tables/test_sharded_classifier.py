"""Scores of chunks, never all at once, against loops over samples and classes in float64."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.losses import LogSumExp, NegativesReduction, Scoring, SoftplusSum, at_once, softmax_loss
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.tables import placement
from lightning_face.tables.placement import Classifier, make_classifier
from lightning_face.tables.replicated_classifier import ReplicatedClassifier
from lightning_face.tables.sampled_classifier import SampledClassifier
from lightning_face.tables.sharded_classifier import ShardedClassifier
from tests.oracle import assert_close, scores_of

NUM_CLASSES, DIM, NUM_SAMPLES = 11, 5, 8
LABELS = torch.tensor([0, 3, 3, 10, 9, 0, 4, 10])
PLAIN_STEP = RowOptimizerConfig(momentum=0.0, weight_decay=0.0)


def hard_negatives(values: Tensor, targets: Tensor) -> Tensor:
    """A negative closer than the own class less a margin counts more: its logit depends on both values."""
    return torch.where(values > targets - 0.2, values * (values + 0.5 * targets), values) * 4.0


SCORINGS = {
    "inner products": Scoring(),
    "cosines": Scoring(unit_rows=True),
    "hard negatives": Scoring(negatives=hard_negatives),
    "hard cosines": Scoring(unit_rows=True, negatives=hard_negatives),
    # Of a sample's 10 negatives one to nine are ignored.
    "filtered": Scoring(filter_above=1.0),
    "filtered hard cosines": Scoring(unit_rows=True, negatives=hard_negatives, filter_above=0.5),
    "binary": Scoring(reduction=SoftplusSum),
    "filtered binary hard cosines": Scoring(
        unit_rows=True, negatives=hard_negatives, bias=torch.tensor(-0.5), reduction=SoftplusSum, filter_above=0.5
    ),
}


@pytest.fixture(params=[1, 3, 4, 100])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Classes at once: one, a divisor of none, some, all."""
    monkeypatch.setattr(at_once, "NUMBERS_ON_CPU", request.param * NUM_SAMPLES)
    return request.param


def options(rows_per_class: int = 1) -> dict[str, Any]:
    device = torch.device("cpu")
    return {"rows_per_class": rows_per_class, "optimizer": PLAIN_STEP, "init_std": 1.0, "seed": 3, "device": device}


def make_table(rows_per_class: int = 1) -> ShardedClassifier:
    return ShardedClassifier(NUM_CLASSES, DIM, **options(rows_per_class))


def some_features() -> Tensor:
    return torch.randn(NUM_SAMPLES, DIM, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("rows_per_class", [1, 3])
@pytest.mark.parametrize("name", SCORINGS)
def test_equals_the_definition_forward_and_backward(name: str, rows_per_class: int, chunk: int) -> None:
    scoring, table = SCORINGS[name], make_table(rows_per_class)
    features, slow_features = some_features().requires_grad_(), some_features().double().requires_grad_()
    slow_rows = table.rows.double().requires_grad_()
    slow_targets, slow_negatives = scores_of(slow_features, LABELS, slow_rows, scoring)
    targets, negatives, _ = table.scores(GlobalBatch(features, LABELS), scoring)
    assert_close(targets, slow_targets)
    assert_close(negatives, slow_negatives)
    # Any loss of the two: here one whose gradients with respect to them are not each other's negative.
    (2.0 * softmax_loss(targets, negatives).sum() + targets.square().sum()).backward()
    (2.0 * softmax_loss(slow_targets, slow_negatives).sum() + slow_targets.square().sum()).backward()
    assert_close(features.grad, slow_features.grad)
    before = table.rows.clone()
    table.step(1.0)
    assert_close(before - table.rows, slow_rows.grad)


@pytest.mark.parametrize("name", SCORINGS)
def test_all_logits_at_once_give_the_same(name: str, chunk: int) -> None:
    """What the replicated classifier does."""
    scoring, table = SCORINGS[name], make_table()
    features, dense_features = some_features().requires_grad_(), some_features().requires_grad_()
    dense_rows = table.rows.clone().requires_grad_()
    softmax_loss(*table.scores(GlobalBatch(features, LABELS), scoring)[:2]).sum().backward()
    softmax_loss(*scoring.scores(dense_features, LABELS, dense_rows)[:2]).sum().backward()
    assert_close(features.grad, dense_features.grad)
    before = table.rows.clone()
    table.step(1.0)
    assert_close(before - table.rows, dense_rows.grad)


def test_gradients_of_several_batches_are_added_up(chunk: int) -> None:
    together, apart = make_table(), make_table()
    features = some_features()
    loss = softmax_loss(*together.scores(GlobalBatch(features.clone().requires_grad_(), LABELS), Scoring())[:2]).sum()
    loss.backward()
    for part in (slice(0, 4), slice(4, 8)):
        batch = GlobalBatch(features[part].clone().requires_grad_(), LABELS[part])
        softmax_loss(*apart.scores(batch, Scoring())[:2]).sum().backward()
    together.step(0.3)
    apart.step(0.3)
    assert_close(apart.rows, together.rows)


def test_a_step_forgets_what_it_applied(chunk: int) -> None:
    table = make_table()
    softmax_loss(*table.scores(GlobalBatch(some_features().requires_grad_(), LABELS), Scoring())[:2]).sum().backward()
    table.step(0.1)
    after = table.rows.clone()
    table.step(0.1)
    assert torch.equal(table.rows, after)


def test_all_rows_of_a_class_count_where_sizes_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the choice of a placement, and in a chunk's products."""
    monkeypatch.setattr(placement, "SMALL_TABLE_BYTES", 2 * 4 * NUM_CLASSES * DIM)
    small, large = (make_classifier("auto", NUM_CLASSES, DIM, sample_rate=1.0, **options(k)) for k in (2, 3))
    assert isinstance(small, ReplicatedClassifier) and isinstance(large, ShardedClassifier)
    monkeypatch.setattr(at_once, "NUMBERS_ON_CPU", 2 * 3 * NUM_SAMPLES)
    for table in (large, SampledClassifier(NUM_CLASSES, DIM, sample_rate=1.0, **options(3))):
        assert [len(chunk.rows) for _, chunk in table.chunks(LABELS)] == [2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize("sharded", [False, True])
def test_of_equal_rows_of_a_class_only_one_moves(sharded: bool) -> None:
    """Else they would stay equal for ever."""
    table = (ShardedClassifier if sharded else ReplicatedClassifier)(NUM_CLASSES, DIM, **options(3) | {"init_std": 0.0})
    softmax_loss(*table.scores(GlobalBatch(some_features().requires_grad_(), LABELS), Scoring())[:2]).sum().backward()
    table.step(1.0)
    assert ((table.rows != 0).any(2).sum(1) == 1).all()


def test_several_rows_begin_as_a_function_of_class_row_and_column() -> None:
    """Those of fewer classes are the first of more, and no two are alike."""
    few, many = ShardedClassifier(4, DIM, **options(3)).rows, make_table(3).rows
    assert torch.equal(few, many[:4])
    assert len(many.flatten(0, 1).unique(dim=0)) == 3 * NUM_CLASSES


@pytest.mark.parametrize("rows_per_class", [1, 3])
@pytest.mark.parametrize("reduction", [LogSumExp, SoftplusSum])
@pytest.mark.parametrize("kind", [ReplicatedClassifier, ShardedClassifier])
def test_opposite_equal_and_zero_rows_give_finite_cosines_and_gradients(
    kind: type[Classifier], reduction: type[NegativesReduction], rows_per_class: int, chunk: int
) -> None:
    table = kind(NUM_CLASSES, DIM, **options(rows_per_class))
    features = F.normalize(some_features())
    with torch.no_grad():
        table.rows[0], table.rows[3], table.rows[10] = features[0], -features[1], 0.0
    scoring = Scoring(unit_rows=True, reduction=reduction, negatives=lambda values, targets: 64.0 * values)
    targets, negatives, _ = table.scores(GlobalBatch(features.requires_grad_(), LABELS), scoring)
    assert_close(targets[[0, 1, 3]], torch.tensor([1.0, -1.0, 0.0]))
    (softmax_loss(64.0 * targets, negatives).sum() + negatives.sum()).backward()
    table.step(1e-3)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in (targets, negatives, features.grad, table.rows))


@pytest.mark.parametrize("reduction", [LogSumExp, SoftplusSum])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_extreme_logits_stay_finite(scale: float, reduction: type[NegativesReduction], chunk: int) -> None:
    table, features = make_table(), some_features().mul(scale).requires_grad_()
    targets, negatives, _ = table.scores(GlobalBatch(features, LABELS), Scoring(reduction=reduction))
    logits = features @ make_table().rows.T
    if reduction is LogSumExp:
        loss, expected = softmax_loss(targets, negatives).sum(), F.cross_entropy(logits, LABELS, reduction="sum")
    else:
        loss, expected = negatives.sum(), F.softplus(logits).sum() - F.softplus(targets).sum()
    loss.backward()
    table.step(0.1)
    assert_close(loss, expected)
    assert bool(torch.isfinite(features.grad).all()) and bool(torch.isfinite(table.rows).all())


@pytest.mark.parametrize("kind", [ReplicatedClassifier, ShardedClassifier])
@pytest.mark.parametrize(
    ("num_classes", "scoring"),
    [
        (1, Scoring()),
        (NUM_CLASSES, Scoring(filter_above=-1e3)),
        (1, Scoring(reduction=SoftplusSum)),
        (NUM_CLASSES, Scoring(reduction=SoftplusSum, filter_above=-1e3)),
    ],
    ids=["one class", "filtered", "one class, binary", "filtered, binary"],
)
def test_without_negatives_there_is_no_loss_and_nothing_moves(
    kind: type[Classifier], num_classes: int, scoring: Scoring
) -> None:
    table, features = kind(num_classes, DIM, **options()), some_features().requires_grad_()
    before = table.state()["classifier"].clone()
    targets, negatives, _ = table.scores(GlobalBatch(features, LABELS.clamp_max(num_classes - 1)), scoring)
    loss = negatives.sum() if scoring.reduction is SoftplusSum else softmax_loss(targets, negatives).sum()
    loss.backward()
    table.step(0.1)
    assert loss == 0.0
    assert torch.equal(features.grad, torch.zeros_like(features))
    assert torch.equal(table.state()["classifier"], before)


def test_the_own_class_is_never_ignored() -> None:
    """However far above the border its value is."""
    table = make_table()
    features = 10.0 * table.rows[LABELS]
    targets, negatives, _ = table.scores(GlobalBatch(features, LABELS), Scoring(filter_above=0.0))
    assert_close(targets, 10.0 * table.rows[LABELS].square().sum(1))
    values = features @ table.rows.T
    assert_close(negatives, values.where(values <= 0.0, -torch.inf).logsumexp(1))


@pytest.mark.parametrize("bias", [None, torch.zeros((), requires_grad=True)])
@pytest.mark.parametrize("reduction", [LogSumExp, SoftplusSum])
def test_a_step_leaves_nothing_behind(reduction: type[NegativesReduction], bias: Tensor | None) -> None:
    """What a batch needed is freed at once, without waiting for the garbage collector."""
    table, scoring = make_table(), Scoring(negatives=hard_negatives, bias=bias, reduction=reduction)
    alive = []
    for _ in range(2):
        batch = GlobalBatch(some_features().requires_grad_(), LABELS.clone())
        alive.append(weakref.ref(batch.labels_B))
        loss = softmax_loss(*table.scores(batch, scoring)[:2]).sum()
        loss.backward()
        table.step(0.1)
        del batch, loss
    assert [reference() for reference in alive] == [None, None]
