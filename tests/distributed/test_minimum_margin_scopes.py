"""MML's scopes: W ranks equal the loops in float64, in either placement, while more and more classes have been seen."""

from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_face.data.order import slots_of
from lightning_face.distributed.world import rank, world_size
from lightning_face.losses import at_once
from lightning_face.objectives.batch import Reduction
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig, Mode
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.scope import Scope
from lightning_face.tables.centers import Init
from lightning_face.tables.placement import Placement
from tests.distributed.test_traffic import Traffic
from tests.distributed.test_world_size_invariance import joined
from tests.oracle import Batch, Oracle, StepOfOracle, assert_close
from tests.ranks import run_ranks

NUM_CLASSES, DIM, GLOBAL_BATCH, NUM_STEPS = 22, 4, 24, 4
CLASS_COUNTS = torch.tensor([9] * 2 + [4] * 5 + [1] * 15)
BUCKETS = ["head"] * 2 + ["middle"] * 5 + ["tail"] * 15  # 18, 20 and 15 images
NUMBERS_AT_ONCE = 36
"""Tiles of 9 classes outside of the batch with 4 others, and of a few rows elsewhere."""

LABELS = {
    # One class on every rank, in every micro-batch; the others once or twice.
    "uneven": [0, 1, 5, 0, 0, 1, 7, 0, 1, 0, 9, 0, 0, 1, 0, 7, 0, 1, 11, 0, 1, 0, 0, 2],
    # Fewer classes than ranks.
    "few": [4] * 17 + [20] * 7,
}


class Case(NamedTuple):
    mode: Mode
    scope: Scope
    layout: str = "uneven"
    accumulation: int = 1
    reduction: Reduction = "sum"
    every_n_steps: int = 1
    from_step: int = 0
    normalise: bool = False
    init: Init = "normal"

    def config(self, placement: Placement = "replicated") -> ObjectiveConfig:
        """Weights at which every part is seen in the total and in the gradients."""
        return ObjectiveConfig(
            None,
            CenterConfig(weight=0.1, init_std=0.5, placement=placement, normalise=self.normalise, init=self.init),
            MinimumMarginConfig(
                weight=0.02 if self.reduction == "sum" else 1.0,
                margin=2.0,
                mode=self.mode,
                center_rate={"sum": 0.01, "mean": 0.5}[self.reduction] if self.mode == "B" else None,
                reduction=self.reduction,
                scope=self.scope,
                every_n_steps=self.every_n_steps,
                from_step=self.from_step,
            ),
        )


SCOPES: list[tuple[Mode, Scope]] = [
    ("A", "batch"),
    ("A", "batch_vs_all"),
    ("B", "batch"),
    ("B", "batch_vs_all"),
    ("B", "all"),
    ("C", "batch_vs_all"),
    ("C", "all"),
]
CASES = [
    *(Case(*scope, accumulation=accumulation) for scope in SCOPES for accumulation in (1, 2)),
    *(Case(*scope, layout="few") for scope in SCOPES if scope[1] != "batch"),
    *(Case(*scope, reduction="mean") for scope in SCOPES if scope[1] != "batch"),
    Case("B", "all", accumulation=2, every_n_steps=3),
    Case("C", "all", every_n_steps=2),
    Case("A", "batch", accumulation=2, from_step=2),
    Case("B", "all", every_n_steps=2, from_step=2),
    *(Case(mode, "batch_vs_all", accumulation=2, normalise=True, init="first_seen") for mode in ("A", "B")),
    *(Case("A", "batch", layout=layout, init="first_seen") for layout in LABELS),
    Case("A", "batch", normalise=True),
]


def make_objective(config: ObjectiveConfig, dim: int = DIM, device: str = "cpu") -> Objective:
    device = torch.device(device)
    return Objective(config, num_classes=NUM_CLASSES, dim=dim, seed=5, device=device, class_counts_C=CLASS_COUNTS)


def global_step(step: int, layout: str, dim: int = DIM) -> Batch:
    """All samples of a step; labels wander, so that classes leave the batch and are met again outside of it."""
    features = 0.7 * torch.randn(GLOBAL_BATCH, dim, generator=torch.Generator().manual_seed(step))
    return features, (torch.tensor(LABELS[layout]) + 3 * step) % NUM_CLASSES


def train_step(
    objective: Objective, step: int, case: Case, dim: int = DIM, device: str = "cpu"
) -> list[dict[str, Any]]:
    """A step of this rank, as an engine makes it; what each micro-batch gave."""
    results = []
    features, labels = (tensor.to(device) for tensor in global_step(step, case.layout, dim))
    for micro_batch in range(case.accumulation):
        slots = slots_of(GLOBAL_BATCH, case.accumulation, micro_batch, rank(), world_size())
        leaf = features[slots].requires_grad_()
        loss = objective(leaf, labels[slots], accumulation=case.accumulation)
        (loss.total / case.accumulation).backward()
        results.append(
            {
                "terms": {name: value.item() for name, value in loss.terms.items()},
                "facts": {name: value.item() for name, value in loss.facts.items()},
                "total": loss.total.item(),
                "gradient": leaf.grad / world_size(),  # engines average over ranks
            }
        )
    objective.step(0.1)
    return results


def train(
    cases: list[tuple[Case, Placement]], dim: int = DIM, device: str = "cpu"
) -> list[tuple[list[dict[str, Any]], Any]]:
    at_once.NUMBERS_ON_CPU = at_once.NUMBERS_ON_GPU = NUMBERS_AT_ONCE
    outcomes = []
    for case, placement in cases:
        objective = make_objective(case.config(placement), dim, device)
        results = [result for step in range(NUM_STEPS) for result in train_step(objective, step, case, dim, device)]
        outcomes.append((results, objective.state()))
    return outcomes


@lru_cache
def oracle_of(case: Case) -> tuple[Oracle, list[StepOfOracle]]:
    oracle = Oracle(case.config(), make_objective(case.config()).state()["centers"], None, BUCKETS)
    steps = []
    for step in range(NUM_STEPS):
        features, labels = global_step(step, case.layout)
        batches = zip(features.chunk(case.accumulation), labels.chunk(case.accumulation), strict=True)
        steps.append(oracle.step(list(batches), 0.1))
    return oracle, steps


def assert_equals_oracle(case: Case, placement: Placement, ranks: list[tuple[list[dict[str, Any]], Any]]) -> None:
    oracle, steps = oracle_of(case)
    facts = [facts for step in steps for facts in step.facts]
    gradients = [gradient for step in steps for gradient in step.feature_gradients]
    expected = [
        {"total": total, **terms} for step in steps for total, terms in zip(step.totals, step.terms, strict=True)
    ]
    for micro_batch, values in enumerate(expected):
        results = [results[micro_batch] for results, _ in ranks]
        for result in results:
            actual = {"total": result["total"], **result["terms"]}
            assert set(actual) == set(values)
            for name, value in values.items():
                assert_close(actual[name], value)
            assert set(result["facts"]) == set(facts[micro_batch])
            for name, value in facts[micro_batch].items():
                assert result["facts"][name] == pytest.approx(value, rel=1e-5)
        assert_close(torch.cat([result["gradient"] for result in results]), gradients[micro_batch])
    states = [state for _, state in ranks]
    for state in states if placement == "replicated" else [joined(states)]:
        for name, value in oracle.centers_state().items():
            assert_close(state[name], value)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_ranks_equal_one_process(placement: Placement, num_ranks: int) -> None:
    """All cases in one process group: starting one takes longer than a case."""
    outcomes = run_ranks(train, num_ranks, [(case, placement) for case in CASES])
    for case, *ranks in zip(CASES, *outcomes, strict=True):
        try:
            assert_equals_oracle(case, placement, ranks)
        except AssertionError as error:
            error.add_note(f"{case}")
            raise


def test_the_cases_have_close_pairs_and_each_scope_has_more_of_them() -> None:
    """Else they would show nothing."""
    every_scope: list[Scope] = ["batch", "batch_vs_all", "all"]
    steps_of_scopes = [oracle_of(Case("C", scope))[1] for scope in every_scope]
    close = [[step.facts[0]["mml_close_pairs"] for step in steps] for steps in steps_of_scopes]
    assert close[0][0] == close[1][0] == close[2][0] > 0  # in the first step no class outside has been seen
    assert all(few < more < most for few, more, most in zip(*(counts[1:] for counts in close), strict=True))
    assert all(len(oracle_of(case)[0].moved_at) < NUM_CLASSES for case in CASES)  # some are never seen


@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_replicated_centers_are_bit_identical_on_all_ranks(num_ranks: int) -> None:
    """P2, with rows long enough that the reduction is cut into pieces."""
    cases: list[tuple[Case, Placement]] = [(Case("B", scope), "replicated") for scope in ("batch_vs_all", "all")]
    for outcomes in zip(*run_ranks(train, num_ranks, cases, 515), strict=True):
        for _, state in outcomes:
            assert bool(torch.isfinite(state["centers"]).all())
            assert all(torch.equal(state[name], value) for name, value in outcomes[0][1].items())


def traffic_of_steps(case: Case, placement: Placement, num_classes: int) -> Counter[str]:
    config = case.config(placement)
    objective = Objective(config, num_classes=num_classes, dim=DIM, seed=1, device=torch.device("cpu"))
    with Traffic() as traffic:
        for step in range(2):
            train_step(objective, step, case)
    return traffic.num_bytes


@pytest.mark.parametrize("placement", ["replicated", "sharded"])
@pytest.mark.parametrize("mode", ["A", "B"])
def test_batch_vs_all_exchanges_the_same_for_fifty_and_fifty_thousand_classes(mode: Mode, placement: Placement) -> None:
    case = Case(mode, "batch_vs_all", reduction="mean")
    few, many = (run_ranks(traffic_of_steps, 2, case, placement, num_classes) for num_classes in (50, 50_000))
    assert few == many
    assert few[0].total() > 0


class LargestNumbers(TorchDispatchMode):
    """Remembers the most floating point numbers that an operation has made."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see `Traffic`

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        given = function(*args, **(kwargs or {}))
        if not function._schema.is_mutable:  # what writes into the table makes nothing new
            floats = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
            self.count = max([self.count, *(leaf.numel() for leaf in floats)])
        return given


@pytest.mark.parametrize("mode", ["A", "B"])
def test_memory_is_bounded_by_the_tile(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of 5,000 classes seen, no more numbers than a tile has are ever made at once."""
    monkeypatch.setattr(at_once, "NUMBERS_ON_CPU", 1000)
    config = Case(mode, "batch_vs_all").config()
    objective = Objective(config, num_classes=5000, dim=DIM, seed=1, device=torch.device("cpu"))
    objective.state()["centers.moved_at"].zero_()
    features, labels = global_step(0, "uneven")
    with LargestNumbers() as largest:
        loss = objective(features.requires_grad_(), labels)
        loss.total.backward()
        objective.step(0.1)
    assert loss.facts["mml_close_pairs"] > 5000
    assert 500 < largest.count <= 1000


DUE = [
    (Case("B", "all", every_n_steps=2), [False, True, False, True]),
    (Case("B", "all", every_n_steps=2, init="first_seen"), [False, True, False, True]),
    (Case("A", "batch", from_step=3), [False, False, False, True]),
    (Case("A", "batch", from_step=2), [False, False, True, True]),
]


@pytest.mark.parametrize(("case", "due"), DUE)
def test_a_run_goes_on_with_the_steps_that_are_due_and_the_classes_it_had_seen(case: Case, due: list[bool]) -> None:
    straight, first, second = (make_objective(case.config()) for _ in range(3))
    expected = [train_step(straight, step, case) for step in range(NUM_STEPS)]
    before = [train_step(first, step, case) for step in range(NUM_STEPS - 1)]
    for name, value in first.state().items():
        second.state()[name].copy_(value)
    resumed = [*before, train_step(second, NUM_STEPS - 1, case)]
    assert ["mml" in results[0]["terms"] for results in resumed] == due
    assert [results[0]["total"] for results in resumed] == [results[0]["total"] for results in expected]
    assert all(torch.equal(second.state()[name], value) for name, value in straight.state().items())
