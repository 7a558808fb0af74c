"""Promises P1 and P2: W ranks equal one process in float64, and every rank holds the same bits."""

from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_face.data.order import slots_of
from lightning_face.distributed.world import rank, world_size
from lightning_face.losses import at_once
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig, Mode
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.optim.row_config import RowOptimizerConfig, RowOptimizerKind
from lightning_face.tables.placement import Placement
from tests.oracle import Batch, Oracle, StepOfOracle, assert_close
from tests.ranks import run_ranks

NUM_CLASSES, DIM, GLOBAL_BATCH = 30, 4, 24
LEARNING_RATES = (0.2, 0.1, 0.3)

LABELS = {
    # Classes 0 and 1 on every rank, in every micro-batch; others once or twice; most of the 30 are absent.
    "uneven": [0, 1, 5, 0, 0, 1, 7, 0, 1, 0, 9, 0, 0, 1, 0, 7, 0, 1, 11, 0, 1, 0, 0, 2],
    # Sorted: most classes are on one rank only, with 1 to 6 samples.
    "sorted": [2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 6, 8, 8, 8, 10, 10, 12, 13, 14, 14, 14, 14, 14, 29],
    # Fewer classes than ranks: a rank has no pairs of its own.
    "few": [4] * 17 + [20] * 7,
    "one": [17] * 24,
    "distinct": list(range(24, 0, -1)),
    # Fewer in the whole table: sharded over four ranks, one has no row.
    "three in all": [0, 1, 2, 0, 1, 0] * 4,
}


def num_classes_of(layout: str) -> int:
    return 3 if layout == "three in all" else NUM_CLASSES


def make_config(mode: Mode, kind: RowOptimizerKind = "sgd", placement: Placement = "replicated") -> ObjectiveConfig:
    """All terms, each strong enough to be seen in every gradient."""
    return ObjectiveConfig(
        SoftmaxConfig(init_std=0.5, optimizer=RowOptimizerConfig(kind=kind), placement=placement),
        CenterConfig(weight=0.3, init_std=0.5, placement=placement),
        MinimumMarginConfig(weight=0.02, margin=3.0, mode=mode, center_rate=0.01 if mode == "B" else None),
    )


def make_objective(
    config: ObjectiveConfig, dim: int = DIM, device: str = "cpu", num_classes: int = NUM_CLASSES
) -> Objective:
    return Objective(config, num_classes=num_classes, dim=dim, seed=5, device=torch.device(device))


def global_step(step: int, layout: str, dim: int = DIM) -> Batch:
    """All samples of a step; labels wander between steps, so that classes come and go."""
    features = torch.randn(GLOBAL_BATCH, dim, generator=torch.Generator().manual_seed(step))
    return features, (torch.tensor(LABELS[layout]) + 3 * step) % num_classes_of(layout)


def train(
    config: ObjectiveConfig, layout: str, accumulation: int, dim: int = DIM, device: str = "cpu"
) -> dict[str, Any]:
    """Three steps of this rank, as an engine makes them: it divides a micro-batch's loss by the accumulation."""
    at_once.NUMBERS_ON_CPU = at_once.NUMBERS_ON_GPU = 3 * GLOBAL_BATCH  # three classes a chunk, with accumulation six
    objective = make_objective(config, dim, device, num_classes_of(layout))
    result: dict[str, Any] = {"values": [], "gradients": []}
    for step, learning_rate in enumerate(LEARNING_RATES):
        features, labels = (tensor.to(device) for tensor in global_step(step, layout, dim))
        for micro_batch in range(accumulation):
            slots = slots_of(GLOBAL_BATCH, accumulation, micro_batch, rank(), world_size())
            leaf = features[slots].requires_grad_()
            loss = objective(leaf, labels[slots], accumulation=accumulation)
            (loss.total / accumulation).backward()
            result["values"].append({"total": loss.total.item(), **{k: v.item() for k, v in loss.terms.items()}})
            # Engines average over ranks: what reaches the backbone is the W-th part of each rank's gradient.
            result["gradients"].append(leaf.grad / world_size())
        objective.step(learning_rate)
    result["state"] = objective.state()
    return result


@lru_cache(maxsize=1)
def oracle_of(mode: Mode, kind: RowOptimizerKind, layout: str, accumulation: int) -> tuple[Oracle, list[StepOfOracle]]:
    config = make_config(mode, kind)
    start = make_objective(config, num_classes=num_classes_of(layout)).state()
    oracle = Oracle(config, start["centers"], start["classifier"])
    steps = []
    for step, learning_rate in enumerate(LEARNING_RATES):
        features, labels = global_step(step, layout)
        batches = list(zip(features.chunk(accumulation), labels.chunk(accumulation), strict=True))
        steps.append(oracle.step(batches, learning_rate))
    return oracle, steps


def assert_ranks_equal_oracle(
    num_ranks: int, mode: Mode, kind: RowOptimizerKind, layout: str, accumulation: int, placement: Placement
) -> None:
    results = run_ranks(train, num_ranks, make_config(mode, kind, placement), layout, accumulation)
    assert_equals_oracle(results, *oracle_of(mode, kind, layout, accumulation), placement)


def assert_equals_oracle(
    results: list[dict[str, Any]], oracle: Oracle, steps: list[StepOfOracle], placement: Placement
) -> None:
    terms = [terms for step in steps for terms in step.terms]
    totals = [total for step in steps for total in step.totals]
    gradients = [gradient for step in steps for gradient in step.feature_gradients]
    for micro_batch, (expected, total) in enumerate(zip(terms, totals, strict=True)):
        for result in results:  # every rank reports the global value
            for name, value in {**expected, "total": total}.items():
                assert_close(result["values"][micro_batch][name], value)
        assert_close(torch.cat([result["gradients"][micro_batch] for result in results]), gradients[micro_batch])
    states = [result["state"] for result in results]
    for state in states if placement == "replicated" else [joined(states)]:
        assert_state_equals(state, oracle)


def joined(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of all ranks as one table; what is no table is the same on all of them."""
    return {
        name: torch.cat([state[name] for state in states]) if value.ndim else value for name, value in states[0].items()
    }


def assert_state_equals(state: dict[str, Tensor], oracle: Oracle) -> None:
    assert_close(state["centers"], oracle.centers)
    assert_close(state["classifier"], oracle.classifier)
    for name, value in oracle.momentum().items():
        assert_close(state[f"classifier.{name}"], value)


# World size last, so that it varies fastest and the oracle is computed once for all four.
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(
    ("mode", "layout"), [(mode, layout) for mode in ("A", "B") for layout in LABELS] + [("C", "uneven")]
)
def test_ranks_equal_one_process(
    mode: Mode, layout: str, accumulation: int, placement: Placement, num_ranks: int
) -> None:
    assert_ranks_equal_oracle(num_ranks, mode, "sgd", layout, accumulation, placement)


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_adamw_equals_one_process(placement: Placement, num_ranks: int) -> None:
    assert_ranks_equal_oracle(num_ranks, "A", "adamw", "uneven", 1, placement)


@pytest.mark.parametrize("mode", ["A", "B"])
@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_tables_are_bit_identical_on_all_ranks(num_ranks: int, mode: Mode) -> None:
    """P2, with rows long enough that the reduction is cut into pieces."""
    states = [result["state"] for result in run_ranks(train, num_ranks, make_config(mode), "uneven", 2, 515)]
    for name, value in states[0].items():
        assert bool(torch.isfinite(value).all())
        assert all(torch.equal(state[name], value) for state in states[1:]), name
