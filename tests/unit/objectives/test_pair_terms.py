"""The losses over pairs within the objective of one rank: with and without tables, half precision, extremes."""

import pytest
import torch
from torch import Tensor

from lightning_face.losses import Pairs
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.contrastive import ContrastiveConfig
from lightning_face.objectives.marginal import MarginalConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.range_loss import RangeConfig
from lightning_face.objectives.triplet import TripletConfig
from tests.oracle import assert_close
from tests.unit.losses.pair_examples import EXTREMES, example, extreme

PAIRS = {
    "contrastive": ContrastiveConfig(),
    "triplet": TripletConfig(),
    "marginal": MarginalConfig(),
    "range": RangeConfig(margin=3.5, normalise=True),
}


def objective_of(config: ObjectiveConfig, dim: int = 3) -> Objective:
    return Objective(config, num_classes=8, dim=dim, seed=1, device=torch.device("cpu"))


def gradient_of(config: ObjectiveConfig, features: Tensor, labels: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(objective_of(config)(features, labels).total, features)
    return gradient


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_loss_needs_no_table(name: str) -> None:
    objective = objective_of(ObjectiveConfig(softmax=None, center=None, **{name: PAIRS[name]}))
    features, labels = example(torch.float32)
    loss = objective(features, labels)
    loss.total.backward()
    assert set(loss.terms) == {name} and loss.total == loss.terms[name] > 0
    assert features.grad.any() and objective.what_is_not_finite([]) is None
    objective.step(0.1)
    assert not objective.state() and not objective.held() and not objective.shapes()


def test_terms_add_up_with_their_weights() -> None:
    features, labels = example(torch.float32)
    base = gradient_of(ObjectiveConfig(), features, labels)
    alone = gradient_of(ObjectiveConfig(softmax=None, center=None, triplet=TripletConfig()), features, labels)
    both = gradient_of(ObjectiveConfig(triplet=TripletConfig(weight=0.5)), features, labels)
    assert_close(both, base + 0.5 * alone)


def test_terms_share_their_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[float] = []

    def count(features: Tensor, labels: Tensor, own: slice) -> Pairs:
        compared.append(float(features.detach().norm(dim=1).max()))
        return original(features, labels, own)

    original = Pairs.of
    monkeypatch.setattr(Pairs, "of", count)
    features, labels = example(torch.float32)
    raw = ContrastiveConfig(normalise=False)
    objective_of(ObjectiveConfig(triplet=TripletConfig(), marginal=MarginalConfig(), contrastive=raw))(features, labels)
    assert sorted(compared) == pytest.approx([1.0, float(features.detach().norm(dim=1).max())])


def test_each_micro_batch_is_seen_alone() -> None:
    """Averaged over a step's micro-batches by the engine, sums too, as for MML."""
    config = ObjectiveConfig(softmax=None, center=None, contrastive=ContrastiveConfig(reduction="sum"))
    features, labels = example(torch.float32)
    assert torch.equal(
        objective_of(config)(features, labels, accumulation=2).total, objective_of(config)(features, labels).total
    )


def test_half_precision_features_under_autocast_give_float32_arithmetic() -> None:
    config = ObjectiveConfig(**PAIRS)
    features, labels = example(torch.bfloat16)
    full = features.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective_of(config)(features, labels)
    expected = objective_of(config)(full, labels)
    assert loss.total.dtype == torch.float32 and torch.equal(loss.total, expected.total)
    loss.total.backward()
    expected.total.backward()
    assert torch.equal(features.grad, full.grad.bfloat16())


@pytest.mark.parametrize("extreme_name", EXTREMES)
def test_extremes_give_finite_numbers(extreme_name: str) -> None:
    features, labels = extreme(extreme_name)
    config = ObjectiveConfig(softmax=None, center=None, **PAIRS)
    objective = objective_of(config, features.shape[1])
    loss = objective(features, labels)
    loss.total.backward()
    assert torch.isfinite(loss.total) and objective.what_is_not_finite([]) is None
    assert all(torch.isfinite(value) for name, value in loss.facts.items() if "active" in name)
