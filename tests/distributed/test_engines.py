"""Promises P1, P5 and P6: under every engine, ranks end where one process and a plain loop over the equations end."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_face.checkpoint.directory import checkpoints_of, describe, name_of
from lightning_face.commands.export import network_of
from lightning_face.data.augment import augment, normalise
from lightning_face.data.faces import BatchRequest
from lightning_face.engines.choice import whole_weights
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.contrastive import ContrastiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.objectives.triplet import TripletConfig
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.tables.placement import Placement
from tests.engine_runs import (
    ACCUMULATION,
    AVERAGE_DECAY,
    CLIP_NORM,
    GLOBAL_BATCH,
    LEARNING_RATE,
    NUM_STEPS,
    RESUMED_AT,
    SCHEDULE,
    Run,
    fit,
    make_data,
    make_module,
    run_engines,
    whole_tables,
)
from tests.oracle import Oracle, assert_close
from tests.ranks import run_ranks

OnOneProcess = Callable[[str], dict[str, Any]]


def make_objective(placement: Placement, mml: dict[str, Any] | None = None, **softmax: Any) -> ObjectiveConfig:
    return ObjectiveConfig(
        SoftmaxConfig(init_std=0.1, placement=placement, **softmax),
        CenterConfig(weight=0.1, init_std=0.1, placement=placement),
        MinimumMarginConfig(weight=0.01, margin=4.0, **(mml or {})),
    )


OBJECTIVES = {
    "replicated": make_objective("replicated"),
    "sharded": make_objective("sharded"),
    # AdamW's default eps, next to gradients of classes that hardly score, would make a step of a rounding error.
    "sampled": make_objective("sharded", sample_rate=0.5, optimizer=RowOptimizerConfig(kind="adamw", eps=1e-3)),
    "batch_vs_all": replace(
        make_objective("sharded", mml={"scope": "batch_vs_all"}), contrastive=ContrastiveConfig(normalise=False)
    ),
    "all in mode B": replace(
        make_objective("sharded", mml={"scope": "all", "mode": "B", "center_rate": 0.05}),
        triplet=TripletConfig(mining="batch_hard", margin=None),
    ),
}


@pytest.fixture(scope="module")
def on_one_process(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> OnOneProcess:
    """What one process ends with, by objective."""

    @cache
    def run(objective: str) -> dict[str, Any]:
        (result,) = run_ranks(fit, 1, tiny_dataset, tmp_path_factory.mktemp("run"), Run(OBJECTIVES[objective]))
        # Else the runs below could not tell whether the norm that clips is that of all ranks.
        assert len(result["norms"]) == NUM_STEPS
        assert min(result["norms"]) > CLIP_NORM
        return result

    return run


def plain_loop(dataset: Path, without_step: int | None = None) -> dict[str, Any]:
    """The run without Lightning, without ranks, and with the loops over samples and pairs as the objective."""
    data = make_data(dataset)
    config = OBJECTIVES["replicated"]
    backbone = make_module(data, config).backbone
    tables = Objective(config, num_classes=data.num_classes, dim=16, seed=3, device=torch.device("cpu")).state()
    oracle = Oracle(config, tables["centers"], tables["classifier"])
    weights = [parameter for parameter in backbone.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in backbone.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": 5e-4}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=0.9)
    losses: list[float] = []
    averaged: dict[str, Tensor] = {}
    for step in range(NUM_STEPS):
        if step == without_step:
            continue
        (ids,) = data.order.sample_ids(0, step, 1, range(GLOBAL_BATCH))
        batch = data.faces[BatchRequest(0, step, ids)]
        images = augment(normalise(batch.images_BHWC, 32), batch.draws_BK, data.augment)
        features, labels = backbone(images), batch.labels_B
        rate = LEARNING_RATE * SCHEDULE.factor(step, total_steps=NUM_STEPS)
        micro_batches = zip(features.detach().chunk(ACCUMULATION), labels.chunk(ACCUMULATION), strict=True)
        result = oracle.step(list(micro_batches), rate)
        losses += result.totals
        optimizer.zero_grad()
        features.backward(torch.cat(result.feature_gradients).float())
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), CLIP_NORM)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        share = max(1 - AVERAGE_DECAY, 10 / (10 + step))
        for name, value in backbone.state_dict().items():
            newest = value.double()
            averaged[name] = (1 - share) * averaged.get(name, newest) + share * newest
    tables = {**oracle.centers_state(), "classifier": oracle.classifier.detach()}
    return {
        "backbone": {name: value.detach() for name, value in backbone.state_dict().items()},
        "averaged": {name: value.float() for name, value in averaged.items()},
        "tables": tables | {f"classifier.{name}": value for name, value in oracle.momentum().items()},
        "losses": losses,
    }


def assert_all_close(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert_close(actual[name], value)


def assert_all_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_one_process_ends_where_a_plain_loop_ends(on_one_process: OnOneProcess, tiny_dataset: Path) -> None:
    (expected,) = run_ranks(plain_loop, 1, tiny_dataset)
    actual = on_one_process("replicated")
    for part in ("backbone", "averaged", "tables"):
        assert_all_close(actual[part], expected[part])
    assert actual["losses"] == pytest.approx(expected["losses"], rel=1e-5)


def networks_of(result: dict[str, Any]) -> list[str]:
    """DeepSpeed keeps no average."""
    return [part for part in ("backbone", "averaged") if part in result]


def assert_ends_like(results: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    """All ranks together end where one process ends."""
    assert_all_close(whole_tables(results), expected["tables"])
    for result in results:
        assert result["losses"] == pytest.approx(expected["losses"], rel=1e-5)
        for part in networks_of(result):
            assert_all_close(result[part], expected[part])
            assert_all_equal(result[part], results[0][part])


@pytest.mark.parametrize(
    ("objective", "num_ranks"),
    [("replicated", 2), ("replicated", 4), ("sharded", 2), ("sharded", 3)],
)
def test_ddp_ends_where_one_process_ends(
    objective: str, num_ranks: int, on_one_process: OnOneProcess, tiny_dataset: Path, tmp_path: Path
) -> None:
    results = run_ranks(fit, num_ranks, tiny_dataset, tmp_path, Run(OBJECTIVES[objective]))
    expected = on_one_process("replicated")
    assert_ends_like(results, expected)
    for result in results:
        assert result["norms"] == pytest.approx(expected["norms"], rel=1e-5)
        if objective == "replicated":
            assert_all_equal(result["tables"], results[0]["tables"])


OBJECTIVE_OF = {
    "fsdp2": "sampled",
    "deepspeed_stage_1": "batch_vs_all",
    "deepspeed_stage_2": "all in mode B",
    "deepspeed_stage_3": "replicated",
}
"""What each engine trains below; together with DDP they see every objective and both placements."""


STOPPED = ("fsdp2", "deepspeed_stage_2")
"""Engines whose continued run a signal stops; DDP's are in test_preemption.py."""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the runs of all engines."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def uninterrupted_and_resumed(
    tiny_dataset: Path, run_dir: Path
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
    """The runs of all engines on two ranks, and their continuations, some of which a signal stops, by engine."""
    runs = {engine: Run(OBJECTIVES[objective], engine) for engine, objective in OBJECTIVE_OF.items()}
    uninterrupted = run_engines(tiny_dataset, run_dir, runs)
    stopped = {engine: NUM_STEPS - 1 if engine in STOPPED else None for engine in runs}
    continued = {engine: run._replace(resume=RESUMED_AT, stopped_after=stopped[engine]) for engine, run in runs.items()}
    return uninterrupted, run_engines(tiny_dataset, run_dir, continued)


@pytest.mark.timeout(600)  # the first waits for the runs of all
@pytest.mark.parametrize(("engine", "objective"), OBJECTIVE_OF.items())
def test_every_engine_ends_where_one_process_ends_and_resumes_bit_for_bit(
    engine: str, objective: str, on_one_process: OnOneProcess, uninterrupted_and_resumed: Any
) -> None:
    """DDP is killed and resumed in tests/e2e/test_resume.py."""
    results, resumed = (runs[engine] for runs in uninterrupted_and_resumed)
    expected = on_one_process(objective)
    assert_ends_like(results, expected)
    assert_partitioned(engine, [result["held"] for result in results], expected["held"])
    for before, after in zip(results, resumed, strict=True):
        first = (NUM_STEPS - 1 if engine in STOPPED else RESUMED_AT) * ACCUMULATION
        assert after["losses"] == before["losses"][first:]
        for part in (*networks_of(before), "tables"):
            assert_all_equal(after[part], before[part])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", OBJECTIVE_OF)
def test_whole_weights_come_out_of_every_engines_checkpoint(
    engine: str, uninterrupted_and_resumed: Any, run_dir: Path
) -> None:
    """As `export` reads them."""
    result = uninterrupted_and_resumed[0][engine][0]
    trained = result["backbone"]
    checkpoint = checkpoints_of(run_dir / engine) / name_of(NUM_STEPS)
    weights = whole_weights(checkpoint, describe(checkpoint))
    assert {name for name in weights if name.startswith("backbone.")} == {f"backbone.{name}" for name in trained}
    assert_all_equal({name.removeprefix("backbone."): value for name, value in weights.items()}, trained)
    exported = {name.removeprefix("backbone."): value for name, value in network_of(weights).items()}
    assert_all_equal(exported, result.get("averaged", trained))


def assert_partitioned(engine: str, held: list[dict[str, int]], whole: dict[str, int]) -> None:
    """Each rank has about its half of what the engine says it shares out; parts are padded to equal lengths."""
    shared = {
        "deepspeed_stage_1": {"momentum"},
        "deepspeed_stage_2": {"momentum"},
        "deepspeed_stage_3": {"momentum", "parameters"},
        "fsdp2": {"momentum", "parameters"},
    }[engine]
    for name in whole:
        for own in held:
            share = own[name] / whole[name]
            assert 0.45 < share < 0.55 if name in shared else share == 1, (engine, name, share)


@pytest.mark.parametrize(
    ("saved_by", "saved_on", "engine", "num_ranks", "objective"),
    [
        ("ddp", 2, "fsdp2", 3, "sharded"),
        ("fsdp2", 2, "ddp", 1, "sharded"),
        ("fsdp2", 3, "fsdp2", 2, "replicated"),
    ],
)
def test_ddp_and_fsdp2_load_each_other(
    saved_by: str,
    saved_on: int,
    engine: str,
    num_ranks: int,
    objective: str,
    on_one_process: OnOneProcess,
    tiny_dataset: Path,
    tmp_path: Path,
) -> None:
    run_ranks(fit, saved_on, tiny_dataset, tmp_path, Run(OBJECTIVES[objective], saved_by))
    results = run_ranks(fit, num_ranks, tiny_dataset, tmp_path, Run(OBJECTIVES[objective], engine, resume=RESUMED_AT))
    expected = on_one_process("replicated")
    assert_ends_like(results, {**expected, "losses": expected["losses"][RESUMED_AT * ACCUMULATION :]})
