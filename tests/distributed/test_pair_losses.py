"""Promise P1 for the losses over pairs: W ranks equal one process in float64."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_face.data.order import slots_of
from lightning_face.distributed.world import rank, world_size
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.contrastive import ContrastiveConfig
from lightning_face.objectives.marginal import MarginalConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.range_loss import RangeConfig
from lightning_face.objectives.triplet import TripletConfig
from tests import pair_oracles as slow
from tests.oracle import assert_close
from tests.ranks import run_ranks

GLOBAL_BATCH, DIM = 18, 3

CONFIGS = {
    "means": ObjectiveConfig(
        softmax=None,
        center=None,
        contrastive=ContrastiveConfig(weight=0.7),
        triplet=TripletConfig(weight=2.0),
        marginal=MarginalConfig(weight=1.5),
        range=RangeConfig(weight=0.5, margin=3.5, intra_weight=1.0, inter_weight=1.0, normalise=True),
    ),
    "means of what costs": ObjectiveConfig(
        softmax=None,
        center=None,
        contrastive=ContrastiveConfig(reduction="mean_nonzero", margin=1.2),
        triplet=TripletConfig(mining="batch_all", reduction="mean_nonzero"),
        marginal=MarginalConfig(reduction="mean_nonzero"),
        range=RangeConfig(reduction="mean", squared=False, num_largest=3, intra_weight=2.0),
    ),
    "sums of raw features": ObjectiveConfig(
        softmax=None,
        center=None,
        contrastive=ContrastiveConfig(reduction="sum", margin=1.5, normalise=False),
        triplet=TripletConfig(mining="hardest_negative", reduction="sum", normalise=False),
        marginal=MarginalConfig(reduction="sum", normalise=False),
    ),
    "soft margin, estimated margin": ObjectiveConfig(
        softmax=None,
        center=None,
        contrastive=ContrastiveConfig(margin=None, normalise=False),
        triplet=TripletConfig(mining="batch_hard", margin=None, squared=False, normalise=False),
    ),
    "given triplets": ObjectiveConfig(
        softmax=None,
        center=None,
        contrastive=ContrastiveConfig(weight=0.3),
        triplet=TripletConfig(mining="offline", reduction="mean_nonzero"),
    ),
}

LABELS = {
    # Rows of three: with two and with three ranks, and over the whole batch, classes lie across ranks or on one.
    "identities": [4, 4, 4, 0, 0, 0, 9, 9, 9, 4, 4, 4, 2, 2, 2, 0, 0, 0],
    "uneven": [1, 0, 1, 1, 2, 1, 3, 0, 1, 1, 1, 1, 5, 1, 2, 1, 1, 1],
    "one class": [7] * 18,
    "no positive pair": list(range(18)),
}


def global_features() -> Tensor:
    return torch.randn(GLOBAL_BATCH, DIM, generator=torch.Generator().manual_seed(4))


def losses_of_rank(device: str = "cpu") -> dict[tuple[str, str], dict[str, Any]]:
    """One batch of each layout under each objective, as an engine makes it."""
    results = {}
    slots = slots_of(GLOBAL_BATCH, 1, 0, rank(), world_size())
    for key in [(name, layout) for name in CONFIGS for layout in LABELS]:
        objective = Objective(CONFIGS[key[0]], num_classes=18, dim=DIM, seed=1, device=torch.device(device))
        leaf = global_features()[slots].to(device).requires_grad_()
        loss = objective(leaf, torch.tensor(LABELS[key[1]])[slots].to(device))
        loss.total.backward()
        assert objective.what_is_not_finite([]) is None
        # Engines average over ranks: what reaches the backbone is the W-th part of each rank's gradient.
        values = {"total": loss.total.item(), **{name: value.item() for name, value in loss.terms.items()}}
        facts = {name: value.item() for name, value in loss.facts.items()}
        results[key] = {"values": values, "facts": facts, "gradient": leaf.grad.cpu() / world_size()}
    return results


def expected_term(config: object, features: Tensor, labels: Sequence[int]) -> tuple[Tensor | float, dict[str, float]]:
    """The unweighted value of a term of the objective over a global batch, and the facts that are logged beside it."""
    features = slow.unit(features) if config.normalise else features

    def share(costs: list[Tensor]) -> float:
        return sum(slow.size(cost) != 0 for cost in costs) / max(len(costs), 1)

    match config:
        case ContrastiveConfig():
            margin = slow.separating_distance(features, labels) if config.margin is None else config.margin
            positive, negative = slow.contrastive(features, labels, margin)
            facts = {"contrastive_active_positives": share(positive), "contrastive_active_negatives": share(negative)}
            return slow.reduced(positive, config.reduction) + slow.reduced(negative, config.reduction), facts
        case MarginalConfig():
            costs = slow.marginal(features, labels, config.threshold, config.margin)
            return slow.reduced(costs, config.reduction), {"marginal_active": share(costs)}
        case TripletConfig():
            costs = slow.triplet(features, labels, config.mining, config.margin, squared=config.squared)
            return slow.reduced(costs, config.reduction), {"triplet_active": share(costs)}
        case RangeConfig():
            within = slow.reduced(
                slow.ranges(features, labels, config.num_largest, squared=config.squared), config.reduction
            )
            nearest = slow.nearest_means(features, labels)
            value = config.intra_weight * within + config.inter_weight * slow.hinge(config.margin - nearest)
            return value, {"range_smallest_distance": slow.size(nearest) ** 0.5}
    raise AssertionError(config)


@cache
def expected_of(name: str, layout: str) -> dict[str, Any]:
    features, labels = global_features().double().requires_grad_(), LABELS[layout]
    values, facts, total = {}, {}, 0.0 * features.sum()
    for term, config in CONFIGS[name].terms.items():
        value, term_facts = expected_term(config, features, labels)
        values[term], total = float(torch.as_tensor(value).detach()), total + config.weight * value
        facts |= term_facts
    total.backward()
    return {"values": {"total": float(total.detach()), **values}, "facts": facts, "gradient": features.grad}


def assert_equal_oracle(results: list[dict[tuple[str, str], dict[str, Any]]]) -> None:
    """What all ranks returned, in rank order."""
    for key in results[0]:
        expected = expected_of(*key)
        for result in results:  # every rank reports the global values
            assert result[key]["values"] == pytest.approx(expected["values"], rel=1e-5, abs=0), key
            assert result[key]["facts"] == pytest.approx(expected["facts"], rel=1e-5), key
        assert_close(torch.cat([result[key]["gradient"] for result in results]), expected["gradient"])


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_ranks_equal_one_process(num_ranks: int) -> None:
    assert_equal_oracle(run_ranks(losses_of_rank, num_ranks))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_example_is_on_both_sides_of_margins(name: str) -> None:
    """Else the comparison above would not see which pairs are left out."""
    shares = [share for fact, share in expected_of(name, "identities")["facts"].items() if "active" in fact]
    assert min(shares) > 0 and any(share < 1 for share in shares)
