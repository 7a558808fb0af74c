"""The objective on one rank against the loops in float64: losses, gradients and tables over several steps."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lightning_face.losses.heads import CosFace, Head
from lightning_face.objectives.batch import Reduction
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.loss_value import LossValue
from lightning_face.objectives.minimum_margin import MinimumMarginConfig, Mode
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.optim.row_config import RowOptimizerConfig, RowOptimizerKind
from lightning_face.tables.placement import Placement
from tests.oracle import Batch, Oracle, StepOfOracle, assert_close

NUM_CLASSES, DIM = 6, 4
LEARNING_RATES = (0.2, 0.1, 0.3)


def make_config(
    *,
    mode: Mode | None = "A",
    kind: RowOptimizerKind = "sgd",
    reduction: Reduction = "mean",
    placement: Placement = "replicated",
) -> ObjectiveConfig:
    """All terms, each strong enough to be seen in every gradient."""
    optimizer = RowOptimizerConfig(kind=kind, lr_multiplier=0.5)
    center_rate = 0.01 if mode == "B" else None
    mml = MinimumMarginConfig(weight=0.05, margin=3.0, mode=mode, center_rate=center_rate) if mode else None
    return ObjectiveConfig(
        SoftmaxConfig(init_std=0.5, reduction=reduction, optimizer=optimizer, placement=placement),
        CenterConfig(weight=0.3, init_std=0.5, reduction=reduction, placement=placement),
        mml,
    )


def make_objective(config: ObjectiveConfig) -> Objective:
    return Objective(config, num_classes=NUM_CLASSES, dim=DIM, seed=5, device=torch.device("cpu"))


def make_oracle(config: ObjectiveConfig, objective: Objective) -> Oracle:
    return Oracle(config, objective.state().get("centers"), objective.state().get("classifier"))


def some_steps(num_steps: int = 3, accumulation: int = 1) -> list[list[Batch]]:
    """Micro-batches of each step; classes come 0 to 4 times."""
    generator = torch.Generator().manual_seed(8)
    return [
        [
            (torch.randn(8, DIM, generator=generator), torch.randint(0, NUM_CLASSES, (8,), generator=generator))
            for _ in range(accumulation)
        ]
        for _ in range(num_steps)
    ]


def run_step(objective: Objective, batches: list[Batch], rate: float) -> tuple[list[LossValue], list[Tensor]]:
    """One optimizer step as an engine makes it: each micro-batch's loss is divided by their number."""
    losses, gradients = [], []
    for features, labels in batches:
        leaf = features.clone().requires_grad_()
        loss = objective(leaf, labels, accumulation=len(batches))
        (loss.total / len(batches)).backward()
        losses.append(loss)
        gradients.append(leaf.grad)
    objective.step(rate)
    return losses, gradients


def assert_step_equals(losses: list[LossValue], gradients: list[Tensor], expected: StepOfOracle) -> None:
    for loss, terms, total in zip(losses, expected.terms, expected.totals, strict=True):
        assert set(loss.terms) == set(terms)
        for name, value in terms.items():
            assert_close(loss.terms[name], value)
        assert_close(loss.total, total)
    for gradient, slow in zip(gradients, expected.feature_gradients, strict=True):
        assert_close(gradient, slow)


def assert_run_equals_oracle(config: ObjectiveConfig, accumulation: int = 1) -> Objective:
    objective = make_objective(config)
    oracle = make_oracle(config, objective)
    for batches, rate in zip(some_steps(3, accumulation), LEARNING_RATES, strict=True):
        expected = oracle.step(batches, rate)
        assert_step_equals(*run_step(objective, batches, rate), expected)
    state = objective.state()
    if config.center is not None:
        assert_close(state["centers"], oracle.centers)
    if config.softmax is not None:
        assert_close(state["classifier"], oracle.classifier)
        for name, value in oracle.momentum().items():
            assert_close(state[f"classifier.{name}"], value)
    return objective


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("mode", ["A", "B", "C"])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_all_terms_equal_the_oracle(placement: Placement, mode: Mode, reduction: Reduction, accumulation: int) -> None:
    assert_run_equals_oracle(make_config(mode=mode, reduction=reduction, placement=placement), accumulation)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_adamw_equals_the_oracle(placement: Placement, accumulation: int) -> None:
    assert_run_equals_oracle(make_config(kind="adamw", placement=placement), accumulation)


def test_mean_over_pairs_equals_the_oracle() -> None:
    mml = MinimumMarginConfig(weight=2.0, margin=3.0, reduction="mean")
    assert_run_equals_oracle(replace(make_config(), mml=mml))


@pytest.mark.parametrize(
    "config",
    [
        ObjectiveConfig(center=None),
        ObjectiveConfig(softmax=None, center=CenterConfig(weight=1.0, init_std=1.0)),
        ObjectiveConfig(center=CenterConfig(weight=0.0, init_std=1.0)),
        *(
            ObjectiveConfig(SoftmaxConfig(rows_per_class=3, init_std=0.5, placement=placement), center=None)
            for placement in ("replicated", "sharded")
        ),
    ],
    ids=["softmax", "center", "softmax, centers without loss", "three rows per class", "sharded"],
)
def test_fewer_terms_equal_the_oracle(config: ObjectiveConfig) -> None:
    objective = assert_run_equals_oracle(config)
    assert (objective.classifier is None) == (config.softmax is None)
    assert (objective.centers is None) == (config.center is None)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_accumulation_equals_one_large_batch(reduction: Reduction) -> None:
    """Sums over samples, and the centers' sums and counts, cover the whole step."""
    config = make_config(mode=None, reduction=reduction)
    (parts,) = some_steps(1, accumulation=2)
    whole = [tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))]
    split, single = make_objective(config), make_objective(config)
    losses, gradients = run_step(split, parts, 0.1)
    single_losses, single_gradients = run_step(single, whole, 0.1)
    assert_close(sum(loss.total for loss in losses) / 2, single_losses[0].total)
    assert_close(torch.cat(gradients), single_gradients[0])
    for name, value in single.state().items():
        assert_close(split.state()[name], value)


def test_center_loss_sends_nothing_to_the_classifier() -> None:
    """Step 5 of the paper's algorithm 1: W is moved by the softmax loss alone."""
    both, softmax_only = make_objective(make_config()), make_objective(ObjectiveConfig(make_config().softmax, None))
    for batches, rate in zip(some_steps(), LEARNING_RATES, strict=True):
        run_step(both, batches, rate)
        run_step(softmax_only, batches, rate)
    assert torch.equal(both.state()["classifier"], softmax_only.state()["classifier"])


def test_half_precision_features_under_autocast_give_float32_arithmetic() -> None:
    config = make_config()
    features, labels = some_steps(1)[0][0]
    leaves = [features.bfloat16().requires_grad_(), features.bfloat16().float().requires_grad_()]
    half, full = make_objective(config), make_objective(config)
    with torch.autocast("cpu", torch.bfloat16):
        loss = half(leaves[0], labels)
    expected = full(leaves[1], labels)
    assert loss.total.dtype == torch.float32
    assert torch.equal(loss.total, expected.total)
    loss.total.backward()
    expected.total.backward()
    assert leaves[0].grad.dtype == torch.bfloat16
    assert torch.equal(leaves[0].grad, leaves[1].grad.bfloat16())
    half.step(0.1)
    full.step(0.1)
    for name, value in full.state().items():
        assert value.dtype == torch.float32 or not value.is_floating_point()
        assert torch.equal(half.state()[name], value)


def test_zero_init_trains() -> None:
    """Coincident centers have no MML gradient, but no NaN either."""
    objective = assert_run_equals_oracle(replace(make_config(), center=CenterConfig(weight=0.3, init_std=0.0)))
    assert all(bool(torch.isfinite(value).all()) for value in objective.state().values())


def test_a_gradient_that_is_not_finite_is_seen_once() -> None:
    objective = make_objective(make_config())
    features, labels = some_steps(1)[0][0]
    expected = {1.0: None, float("inf"): "the features' gradient is not finite"}
    for factor in (1.0, float("inf"), 1.0):
        (objective(features.clone().requires_grad_(), labels).total * factor).backward()
        assert objective.what_is_not_finite([torch.ones(3)]) == expected[factor]


def test_a_loss_or_a_weights_gradient_that_is_not_finite_is_named() -> None:
    objective = make_objective(make_config())
    features, labels = some_steps(1)[0][0]
    for broken in (features, features * float("inf"), features):  # two micro-batches after one another, then none
        objective(broken.clone().requires_grad_(), labels)
    what = objective.what_is_not_finite([])
    assert what is not None and what.startswith("the loss is not finite ({'softmax': nan")
    objective(features, labels)
    assert objective.what_is_not_finite([torch.ones(3), torch.tensor([1.0, float("nan")])]) == (
        "the norm of the weights' gradient is not finite"
    )


@pytest.mark.parametrize("placement", ["replicated", "sharded"])
@pytest.mark.parametrize("head", [None, CosFace(scale=10.0, margin=0.5)])
def test_accuracy_is_the_share_that_is_nearest_to_its_own_class(placement: Placement, head: Head | None) -> None:
    """Margins aside: the second sample is nearer to its own row than to any other by less than the margin."""
    config = ObjectiveConfig(SoftmaxConfig(head=head, placement=placement), center=None)
    objective = make_objective(config)
    objective.state()["classifier"].copy_(torch.eye(NUM_CLASSES)[:, :DIM] + 0.01)
    features = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.6, 0, 0], [0, 0, 0.5, 0.6], [0, 0, 0, 1.0]], requires_grad=True)
    facts = objective(features, torch.tensor([0, 1, 2, 3])).facts
    assert facts["accuracy"] == 0.75 and facts["accuracy_middle"] == 0.75
