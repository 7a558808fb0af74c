"""Scores of chunks, never all at once, against loops over samples and classes in float64."""

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.losses import Scoring, at_once, softmax_loss
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.tables.placement import Classifier
from lightning_face.tables.replicated_classifier import ReplicatedClassifier
from lightning_face.tables.sharded_classifier import ShardedClassifier
from tests.oracle import assert_close

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
}


@pytest.fixture(params=[1, 3, 4, 100])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Classes at once: one, a divisor of none, some, all."""
    monkeypatch.setattr(at_once, "NUMBERS_ON_CPU", request.param * NUM_SAMPLES)
    return request.param


def make_table(rows_per_class: int = 1, num_classes: int = NUM_CLASSES) -> ShardedClassifier:
    device = torch.device("cpu")
    table = ShardedClassifier(num_classes, DIM, optimizer=PLAIN_STEP, init_std=1.0, seed=3, device=device)
    if rows_per_class > 1:
        generator = torch.Generator().manual_seed(4)
        table.rows_HD = torch.randn(num_classes, rows_per_class, DIM, generator=generator)
    return table


def some_features() -> Tensor:
    return torch.randn(NUM_SAMPLES, DIM, generator=torch.Generator().manual_seed(7))


def slow_scores(features: Tensor, labels: Tensor, rows: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """The definition, one sample and one class at a time."""

    def value(x: Tensor, w: Tensor) -> Tensor:
        rows_of_class = w if w.ndim == 2 else w.unsqueeze(0)
        products = [torch.dot(x, row / row.norm() if scoring.unit_rows else row) for row in rows_of_class]
        return torch.stack(products).max()

    function: Callable[[Tensor, Tensor], Tensor] = scoring.negatives or (lambda values, targets: values)
    targets, negatives = [], []
    for x, y in zip(features, labels.tolist(), strict=True):
        target = value(x, rows[y])
        values = [value(x, w) for j, w in enumerate(rows) if j != y]
        counted = [v for v in values if scoring.filter_above is None or v <= scoring.filter_above]
        others = [torch.exp(function(v, target)) for v in counted]
        targets.append(target)
        negatives.append(torch.log(torch.stack(others).sum()))
    return torch.stack(targets), torch.stack(negatives)


@pytest.mark.parametrize("rows_per_class", [1, 3])
@pytest.mark.parametrize("name", SCORINGS)
def test_equals_the_definition_forward_and_backward(name: str, rows_per_class: int, chunk: int) -> None:
    scoring, table = SCORINGS[name], make_table(rows_per_class)
    features, slow_features = some_features().requires_grad_(), some_features().double().requires_grad_()
    slow_rows = table.rows_HD.double().requires_grad_()
    slow_targets, slow_negatives = slow_scores(slow_features, LABELS, slow_rows, scoring)
    targets, negatives = table.scores(GlobalBatch(features, LABELS), scoring)
    assert_close(targets, slow_targets)
    assert_close(negatives, slow_negatives)
    # Any loss of the two: here one whose gradients with respect to them are not each other's negative.
    (2.0 * softmax_loss(targets, negatives) + targets.square().sum()).backward()
    (2.0 * softmax_loss(slow_targets, slow_negatives) + slow_targets.square().sum()).backward()
    assert_close(features.grad, slow_features.grad)
    before = table.rows_HD.clone()
    table.step(1.0)
    assert_close(before - table.rows_HD, slow_rows.grad)


@pytest.mark.parametrize("name", SCORINGS)
def test_all_logits_at_once_give_the_same(name: str, chunk: int) -> None:
    """What the replicated classifier does."""
    scoring, table = SCORINGS[name], make_table()
    features, dense_features = some_features().requires_grad_(), some_features().requires_grad_()
    dense_rows = table.rows_HD.clone().requires_grad_()
    softmax_loss(*table.scores(GlobalBatch(features, LABELS), scoring)).backward()
    softmax_loss(*scoring.scores(dense_features, LABELS, dense_rows)).backward()
    assert_close(features.grad, dense_features.grad)
    before = table.rows_HD.clone()
    table.step(1.0)
    assert_close(before - table.rows_HD, dense_rows.grad)


def test_gradients_of_several_batches_are_added_up(chunk: int) -> None:
    together, apart = make_table(), make_table()
    features = some_features()
    loss = softmax_loss(*together.scores(GlobalBatch(features.clone().requires_grad_(), LABELS), Scoring()))
    loss.backward()
    for part in (slice(0, 4), slice(4, 8)):
        batch = GlobalBatch(features[part].clone().requires_grad_(), LABELS[part])
        softmax_loss(*apart.scores(batch, Scoring())).backward()
    together.step(0.3)
    apart.step(0.3)
    assert_close(apart.rows_HD, together.rows_HD)


def test_a_step_forgets_what_it_applied(chunk: int) -> None:
    table = make_table()
    softmax_loss(*table.scores(GlobalBatch(some_features().requires_grad_(), LABELS), Scoring())).backward()
    table.step(0.1)
    after = table.rows_HD.clone()
    table.step(0.1)
    assert torch.equal(table.rows_HD, after)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_extreme_logits_stay_finite(scale: float, chunk: int) -> None:
    table, features = make_table(), some_features().mul(scale).requires_grad_()
    loss = softmax_loss(*table.scores(GlobalBatch(features, LABELS), Scoring()))
    loss.backward()
    table.step(0.1)
    assert_close(loss, torch.nn.functional.cross_entropy(features @ make_table().rows_HD.T, LABELS, reduction="sum"))
    assert bool(torch.isfinite(features.grad).all()) and bool(torch.isfinite(table.rows_HD).all())


@pytest.mark.parametrize("kind", [ReplicatedClassifier, ShardedClassifier])
@pytest.mark.parametrize(
    ("num_classes", "scoring"),
    [(1, Scoring()), (NUM_CLASSES, Scoring(filter_above=-1e3))],
    ids=["one class", "filtered"],
)
def test_without_negatives_there_is_no_loss_and_nothing_moves(
    kind: type[Classifier], num_classes: int, scoring: Scoring
) -> None:
    options = {"optimizer": PLAIN_STEP, "init_std": 1.0, "seed": 3, "device": torch.device("cpu")}
    table, features = kind(num_classes, DIM, **options), some_features().requires_grad_()
    before = table.state()["classifier"].clone()
    loss = softmax_loss(*table.scores(GlobalBatch(features, LABELS.clamp_max(num_classes - 1)), scoring))
    loss.backward()
    table.step(0.1)
    assert loss == 0.0
    assert torch.equal(features.grad, torch.zeros_like(features))
    assert torch.equal(table.state()["classifier"], before)


def test_the_own_class_is_never_ignored() -> None:
    """However far above the border its value is."""
    table = make_table()
    features = 10.0 * table.rows_HD[LABELS]
    targets, negatives = table.scores(GlobalBatch(features, LABELS), Scoring(filter_above=0.0))
    assert_close(targets, 10.0 * table.rows_HD[LABELS].square().sum(1))
    values = features @ table.rows_HD.T
    assert_close(negatives, values.where(values <= 0.0, -torch.inf).logsumexp(1))


def test_a_step_leaves_nothing_behind() -> None:
    """What a batch needed is freed at once, without waiting for the garbage collector."""
    table = make_table()
    alive = []
    for _ in range(2):
        batch = GlobalBatch(some_features().requires_grad_(), LABELS.clone())
        alive.append(weakref.ref(batch.labels_B))
        loss = softmax_loss(*table.scores(batch, Scoring()))
        loss.backward()
        table.step(0.1)
        del batch, loss
    assert [reference() for reference in alive] == [None, None]
