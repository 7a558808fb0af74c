"""Sampled softmax on W ranks against loops over samples and classes in float64, and against itself when it goes on."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from lightning_face.data.order import slots_of
from lightning_face.distributed.world import rank, world_size
from lightning_face.hashing import uniform
from lightning_face.losses import at_once
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.optim.row_config import RowOptimizerConfig, RowOptimizerKind
from tests.oracle import assert_close
from tests.ranks import run_ranks

DIM, GLOBAL_BATCH, SEED = 4, 24, 5
LEARNING_RATES = (0.2, 0.1, 0.3, 0.2)


class Case(NamedTuple):
    """Classes, the share that is sampled, the labels of a step, which wander from step to step, and the filter."""

    num_classes: int
    rate: float
    labels: list[int]
    filter_above: float | None = None


CASES = {
    # 0 and 1 in both micro-batches, 5 and 9 in the first alone; shares of 4 ranks are uneven.
    "some": Case(30, 0.3, [0, 1, 5, 0, 0, 1, 7, 0, 1, 0, 9, 0, 0, 1, 0, 7, 0, 1, 11, 0, 1, 0, 0, 2]),
    "filtered": Case(30, 0.5, [0, 1, 5, 0, 8, 1, 7, 0, 1, 3, 9, 0, 0, 1, 0, 7, 0, 1, 11, 0, 1, 4, 6, 2], 0.3),
    # A rank sees no row at all in most steps.
    "hardly any": Case(31, 0.02, [4] * 17 + [20] * 7),
    # No negatives, but for the sample.
    "one class": Case(29, 0.1, [17] * 24),
    # The first of four ranks holds no row.
    "fewer classes than ranks": Case(3, 0.5, [0, 0, 1, 0, 1, 1, 2, 1] + [0] * 16),
}


def make_objective(case: Case, kind: RowOptimizerKind, device: str = "cpu") -> Objective:
    optimizer = RowOptimizerConfig(kind=kind)
    softmax = SoftmaxConfig(sample_rate=case.rate, filter_above=case.filter_above, init_std=0.5, optimizer=optimizer)
    config = ObjectiveConfig(softmax, center=None)
    return Objective(config, num_classes=case.num_classes, dim=DIM, seed=SEED, device=torch.device(device))


def global_step(case: Case, step: int) -> tuple[Tensor, Tensor]:
    features = torch.randn(GLOBAL_BATCH, DIM, generator=torch.Generator().manual_seed(step))
    return features, (torch.tensor(case.labels) + 3 * step) % case.num_classes


def train_step(
    objective: Objective, case: Case, step: int, accumulation: int, device: str = "cpu"
) -> tuple[list[float], list[Tensor]]:
    """Loss and feature gradient of each micro-batch, as they reach this rank's backbone."""
    features, labels = (tensor.to(device) for tensor in global_step(case, step))
    values, gradients = [], []
    for micro_batch in range(accumulation):
        slots = slots_of(GLOBAL_BATCH, accumulation, micro_batch, rank(), world_size())
        leaf = features[slots].requires_grad_()
        loss = objective(leaf, labels[slots], accumulation=accumulation)
        (loss.total / accumulation).backward()
        values.append(loss.total.item())
        gradients.append(leaf.grad / world_size())
    objective.step(LEARNING_RATES[step])
    return values, gradients


def train(case: Case, kind: RowOptimizerKind, accumulation: int, device: str = "cpu") -> dict[str, Any]:
    at_once.NUMBERS_ON_CPU = at_once.NUMBERS_ON_GPU = 3 * GLOBAL_BATCH  # three classes a chunk, with accumulation six
    objective = make_objective(case, kind, device)
    result: dict[str, Any] = {"values": [], "gradients": [], "states": [copied(objective)]}
    for step in range(len(LEARNING_RATES)):
        values, gradients = train_step(objective, case, step, accumulation, device)
        result["values"] += values
        result["gradients"] += gradients
        result["states"].append(copied(objective))
    return result


def copied(objective: Objective) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in objective.state().items()}


class Oracle:
    """Everything in float64, one sample, one class and one row at a time."""

    def __init__(self, case: Case, kind: RowOptimizerKind, rows: Tensor) -> None:
        self.case, self.config = case, RowOptimizerConfig(kind=kind)
        self.rows = rows.double()
        names = ("momentum_buffer",) if kind == "sgd" else ("exp_avg", "exp_avg_sq")
        self.state = {name: torch.zeros_like(self.rows) for name in names}
        self.values: list[float] = []
        self.gradients: list[Tensor] = []
        self.touched: list[set[int]] = []

    def step(self, step: int, accumulation: int) -> None:
        features, labels = global_step(self.case, step)
        numbers = uniform(SEED, "sampled", step, torch.arange(self.case.num_classes).numpy())
        sample = {c for c, number in enumerate(numbers) if number < self.case.rate}
        rows = self.rows.clone().requires_grad_()
        touched = set(sample)
        for x, y in zip(features.double().chunk(accumulation), labels.chunk(accumulation), strict=True):
            seen = sorted(sample | set(y.tolist()))
            touched |= set(seen)
            leaf = x.clone().requires_grad_()
            value = sum(self._loss(*pair, rows, seen) for pair in zip(leaf, y.tolist(), strict=True)) / len(y)
            (value / accumulation).backward()
            self.values.append(value.item())
            self.gradients.append(leaf.grad)
        for c in touched:
            self._move(c, rows.grad[c], LEARNING_RATES[step], step + 1)
        self.touched.append(touched)

    def _loss(self, x: Tensor, y: int, rows: Tensor, seen: list[int]) -> Tensor:
        """-log(exp(w_y x) / sum of exp(w_j x) over the classes that are seen), divided through by exp(w_y x)."""
        border = math.inf if self.case.filter_above is None else self.case.filter_above
        negatives = [c for c in seen if c != y and torch.dot(rows[c], x).item() <= border]
        zero = 0.0 * torch.dot(rows[y], x)  # can be differentiated even where there is no negative
        return torch.log(1.0 + sum((torch.exp(torch.dot(rows[c] - rows[y], x)) for c in negatives), start=zero))

    def _move(self, c: int, gradient: Tensor, lr: float, num_steps: int) -> None:
        config, row = self.config, self.rows[c]
        if config.kind == "sgd":
            momentum = self.state["momentum_buffer"][c]
            momentum[:] = config.momentum * momentum + gradient + config.weight_decay * row
            row -= lr * momentum
            return
        (first, second), (mean, square) = config.betas, (self.state["exp_avg"][c], self.state["exp_avg_sq"][c])
        mean[:] = first * mean + (1 - first) * gradient
        square[:] = second * square + (1 - second) * gradient**2
        row *= 1 - lr * config.weight_decay
        row -= lr * mean / (1 - first**num_steps) / ((square / (1 - second**num_steps)).sqrt() + config.eps)


@lru_cache(maxsize=1)
def oracle_of(name: str, kind: RowOptimizerKind, accumulation: int) -> Oracle:
    oracle = Oracle(CASES[name], kind, make_objective(CASES[name], kind).state()["classifier"])
    for step in range(len(LEARNING_RATES)):
        oracle.step(step, accumulation)
    return oracle


def joined(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The rows of all ranks as one table."""
    return {
        name: torch.cat([state[name] for state in states]) if value.ndim else value for name, value in states[0].items()
    }


def assert_equals_oracle(name: str, kind: RowOptimizerKind, accumulation: int, results: list[dict[str, Any]]) -> None:
    oracle = oracle_of(name, kind, accumulation)
    for result in results:
        assert result["values"] == pytest.approx(oracle.values, rel=1e-5, abs=1e-7)
    for micro_batch, expected in enumerate(oracle.gradients):
        assert_close(torch.cat([result["gradients"][micro_batch] for result in results]), expected)
    states = [joined([result["states"][step] for result in results]) for step in range(len(LEARNING_RATES) + 1)]
    assert_close(states[-1]["classifier"], oracle.rows)
    for state, expected in oracle.state.items():
        assert_close(states[-1][f"classifier.{state}"], expected)
    assert states[-1]["classifier.num_steps"] == len(LEARNING_RATES)
    for before, after, touched in zip(states, states[1:], oracle.touched, strict=False):
        assert_only_these_move(before, after, touched)


def assert_only_these_move(before: dict[str, Tensor], after: dict[str, Tensor], touched: set[int]) -> None:
    """The others keep every bit of row, momentum and mean squares."""
    others = [c for c in range(len(before["classifier"])) if c not in touched]
    for name, value in before.items():
        if value.ndim:
            assert torch.equal(after[name][others], value[others]), name


# World size last, so that it varies fastest and the oracle is computed once for all four.
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_ranks_equal_the_loops(name: str, accumulation: int, num_ranks: int) -> None:
    results = run_ranks(train, num_ranks, CASES[name], "sgd", accumulation)
    assert_equals_oracle(name, "sgd", accumulation, results)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_adamw_equals_the_loops(num_ranks: int) -> None:
    assert_equals_oracle("some", "adamw", 2, run_ranks(train, num_ranks, CASES["some"], "adamw", 2))


def test_the_cases_are_what_they_are_for() -> None:
    """Some class is seen by one micro-batch alone; some rank sees none; some class is never seen."""
    some, hardly_any = (oracle_of(name, "sgd", 2) for name in ("some", "hardly any"))
    labels = [global_step(some.case, step)[1].chunk(2) for step in range(len(LEARNING_RATES))]
    assert any(set(first.tolist()) ^ set(second.tolist()) for first, second in labels)
    blocks = [{c * 3 // 31 for c in touched} for touched in hardly_any.touched]
    assert any(len(seeing) < 3 for seeing in blocks)
    assert set().union(*hardly_any.touched) != set(range(31))
    assert all(0 < len(touched) < 30 for touched in some.touched)


def train_and_go_on(case: Case, kind: RowOptimizerKind) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state after all steps: of one table, and of one that was loaded midway."""
    through, loaded = make_objective(case, kind), make_objective(case, kind)
    for step in range(2):
        train_step(through, case, step, 1)
    for name, tensor in loaded.state().items():
        tensor.copy_(through.state()[name])
    for objective in (through, loaded):
        for step in range(2, len(LEARNING_RATES)):
            train_step(objective, case, step, 1)
    return through.state(), loaded.state()


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_loaded_table_goes_on_with_the_same_bits(kind: RowOptimizerKind, num_ranks: int) -> None:
    for through, loaded in run_ranks(train_and_go_on, num_ranks, CASES["some"], kind):
        assert through.keys() == loaded.keys()
        assert all(torch.equal(loaded[name], value) for name, value in through.items())


def go_on(case: Case, state: dict[str, Tensor], steps: range) -> dict[str, Tensor]:
    """Train from the state of all ranks, of which this rank takes the rows that it holds."""
    objective = make_objective(case, "sgd")
    held = objective.held()
    for name, tensor in objective.state().items():
        tensor.copy_(state[name][held[name].start : held[name].stop] if name in held else state[name])
    for step in steps:
        train_step(objective, case, step, 1)
    return objective.state()


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 1)])
def test_another_number_of_ranks_goes_on_with_the_same_samples(before: int, after: int) -> None:
    oracle, state = oracle_of("some", "sgd", 1), make_objective(CASES["some"], "sgd").state()
    for num_ranks, steps in ((before, range(2)), (after, range(2, len(LEARNING_RATES)))):
        state = joined(run_ranks(go_on, num_ranks, CASES["some"], state, steps))
    assert_close(state["classifier"], oracle.rows)
    assert_close(state["classifier.momentum_buffer"], oracle.state["momentum_buffer"])
