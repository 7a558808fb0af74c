"""Every head in every kind of table on W ranks, through three steps of two micro-batches, against loops in float64."""

from functools import cache
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
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.tables.placement import Placement
from tests.heads import CASES, Batch, initial_state, losses_of
from tests.oracle import assert_close, means_of_buckets, optimizer_of
from tests.ranks import run_ranks

NUM_CLASSES, DIM, GLOBAL_BATCH, ACCUMULATION, SEED, SCALE, RATE = 7, 4, 12, 2, 5, 8.0, 0.5
LEARNING_RATES = (0.02, 0.01, 0.03)
LABELS = torch.tensor([0, 1, 5, 0, 6, 5, 3, 3, 3, 1, 0, 6])  # classes 2 and 4 are only ever negatives
COUNTS = torch.tensor([40, 3, 7, 1, 12, 5, 2])
BUCKETS = ["head", "tail", "tail", "tail", "middle", "tail", "tail"]  # 40, 12 and 18 images; no sample is of the middle


class Table(NamedTuple):
    """Where the rows are, and how many classes and rows of a class there are to see."""

    placement: Placement
    sample_rate: float = 1.0
    rows_per_class: int = 1


REPLICATED, SHARDED, SAMPLED = Table("replicated"), Table("sharded"), Table("sharded", sample_rate=RATE)
SUB_CENTERS = (Table("replicated", rows_per_class=3), Table("sharded", rows_per_class=3))

OF_ONE_RANK = {"arcface, easy", "adaface", "curricularface", "sphereface, m 1.7", "sphereface, at the end"}
"""What differs from another case in the arithmetic of a sample alone."""

RUNS = [(name, table) for name in CASES if name not in OF_ONE_RANK for table in (REPLICATED, SHARDED)]
RUNS += [("arcface", table) for table in SUB_CENTERS]
RUNS += [(name, SAMPLED) for name in ("adaface, quick", "curricularface, quick", "uniface", "sphereface2")]


def config_of(name: str, table: Table) -> ObjectiveConfig:
    """A step forgets nothing but rows that it does not see: those stay, which the loops would move by momentum."""
    is_sampled = table.sample_rate < 1
    optimizer = RowOptimizerConfig(momentum=0.0 if is_sampled else 0.9, weight_decay=0.0 if is_sampled else 0.01)
    softmax = SoftmaxConfig(head=CASES[name].head(SCALE), init_std=1.0, optimizer=optimizer, **table._asdict())
    return ObjectiveConfig(softmax, center=None)


def make_objective(name: str, table: Table) -> Objective:
    device = torch.device("cpu")
    config = config_of(name, table)
    return Objective(config, num_classes=NUM_CLASSES, dim=DIM, seed=SEED, device=device, class_counts_C=COUNTS)


def global_step(step: int) -> Batch:
    """All samples of a step."""
    generator = torch.Generator().manual_seed(step)
    features = torch.randn(GLOBAL_BATCH, DIM, generator=generator) * 10.0
    return Batch(features, LABELS.roll(step), torch.randn(GLOBAL_BATCH, generator=generator), COUNTS)


def train(name: str, table: Table) -> dict[str, Any]:
    """Three steps of this rank, as an engine makes them: it divides a micro-batch's loss by the accumulation."""
    objective = make_objective(name, table)
    result: dict[str, Any] = {"values": [], "facts": [], "gradients": []}
    for step, learning_rate in enumerate(LEARNING_RATES):
        batch = global_step(step)
        for micro_batch in range(ACCUMULATION):
            slots = slots_of(GLOBAL_BATCH, ACCUMULATION, micro_batch, rank(), world_size())
            leaf = batch.features[slots].requires_grad_()
            loss = objective(leaf, batch.labels[slots], accumulation=ACCUMULATION, noise_B=batch.noise[slots])
            (loss.total / ACCUMULATION).backward()
            result["values"].append(float(loss.total.detach()))
            result["facts"].append({key: fact for key, fact in loss.facts.items() if "accuracy" not in key})
            result["gradients"].append(leaf.grad / world_size())  # an engine averages over ranks
        objective.step(learning_rate)
    return result | {"state": objective.state()}


def train_all(runs: list[tuple[str, Table]]) -> list[dict[str, Any]]:
    at_once.NUMBERS_ON_CPU = at_once.NUMBERS_ON_GPU = GLOBAL_BATCH  # two classes a chunk
    return [train(*run) for run in runs]


@cache
def oracle_of(name: str, table: Table) -> dict[str, Any]:
    """The same, one sample and one class at a time."""
    case, is_sampled = CASES[name], table.sample_rate < 1
    rows = torch.nn.Parameter(make_objective(name, table).state()["classifier"].double())
    state = initial_state(case, NUM_CLASSES * table.sample_rate, SCALE)
    options = config_of(name, table).softmax.optimizer
    leaves = [rows, state["bias"]] if "bias" in state else [rows]
    optimizers = [optimizer_of(options, leaf) for leaf in leaves]
    result: dict[str, Any] = {"values": [], "facts": [], "gradients": []}
    for step, learning_rate in enumerate(LEARNING_RATES):
        numbers = uniform(SEED, "sampled", step, torch.arange(NUM_CLASSES).numpy())
        for micro_batch in range(ACCUMULATION):
            slots = slots_of(GLOBAL_BATCH, ACCUMULATION, micro_batch, 0, 1)
            whole = global_step(step)
            batch = Batch(whole.features[slots].double(), whole.labels[slots], whole.noise[slots], COUNTS)
            batch.features.requires_grad_()
            seen = [c for c, number in enumerate(numbers) if not is_sampled or number < RATE or c in batch.labels]
            losses = losses_of(case, batch, rows, state, SCALE, seen)
            loss = losses.mean()
            (loss / ACCUMULATION).backward()
            buckets = [BUCKETS[c] for c in batch.labels.tolist()]
            running = {key: torch.as_tensor(fact).detach().clone() for key, fact in case.facts(state).items()}
            result["facts"].append(means_of_buckets("softmax", buckets, losses.tolist()) | running)
            result["values"].append(float(loss.detach()))
            result["gradients"].append(batch.features.grad)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad()
        if "step" in state:
            state["step"] += 1
    momentum = optimizers[-1].state[leaves[-1]].get("momentum_buffer") if len(leaves) > 1 else None
    named = {f"softmax.head.{key}": value for key, value in state.items()}
    named |= {"softmax.head.bias.momentum_buffer": momentum} if momentum is not None else {}
    return result | {"state": named, "rows": rows.detach()}


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_every_head_equals_its_equation(num_ranks: int) -> None:
    by_rank = run_ranks(train_all, num_ranks, RUNS)
    for (name, table), *results in zip(RUNS, *by_rank, strict=True):
        expected = oracle_of(name, table)
        for result in results:
            assert_close(torch.tensor(result["values"]), torch.tensor(expected["values"]))
            for facts, slow, of_first in zip(result["facts"], expected["facts"], results[0]["facts"], strict=True):
                assert {"softmax", *facts} == set(slow)
                for key, fact in facts.items():
                    assert_close(fact, slow[key])
                    assert torch.equal(fact, of_first[key])
            running = {key: value for key, value in result["state"].items() if key.startswith("softmax.head.")}
            assert running.keys() == expected["state"].keys()
            for key, value in running.items():
                assert_close(value, expected["state"][key])
                assert torch.equal(value, results[0]["state"][key]), "the same bits on every rank"
        for pieces in zip(*(result["gradients"] for result in results), expected["gradients"], strict=True):
            assert_close(torch.cat(pieces[:-1]), pieces[-1], 2e-5)
        rows: list[Tensor] = [result["state"]["classifier"] for result in results]
        for whole in rows if table.placement == "replicated" else [torch.cat(rows)]:
            assert_close(whole, expected["rows"])


def test_the_steps_have_what_heads_tell_apart() -> None:
    """Everything that runs has moved, and so have biases."""
    for name in ("adaface, quick", "curricularface, quick", "uniface", "sphereface2", "sphereface"):
        before = {f"softmax.head.{key}": value for key, value in initial_state(CASES[name], NUM_CLASSES).items()}
        after = oracle_of(name, REPLICATED)["state"]
        assert all((torch.as_tensor(after[key]) - value).abs() > 1e-3 for key, value in before.items()), name
