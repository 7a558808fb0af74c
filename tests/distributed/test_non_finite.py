"""A step that is not finite is skipped, or the run goes back, on all ranks alike and in every attempt."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.errors import NonFiniteLossError
from lightning_face.losses.heads import AdaFace
from lightning_face.models import BackboneConfig
from tests import engine_runs
from tests.disk import full_disk
from tests.distributed.test_engines import OBJECTIVES, assert_all_close, make_objective, plain_loop, whole_tables
from tests.engine_runs import ACCUMULATION, LEARNING_RATE, NUM_STEPS, RESUMED_AT, SCHEDULE, Run, fit, fit_each
from tests.ranks import run_ranks

BROKEN = 3
"""A step after a checkpoint and before the next, counted from 0."""

SKIP = Run(OBJECTIVES["replicated"], action="skip", broken=(BROKEN,))
REWIND = SKIP._replace(action="rewind")
WITH_STATISTICS = {
    "objective": make_objective("sharded", head=AdaFace(scale=8.0), sample_rate=0.5),
    "backbone": BackboneConfig("test_resnet", embedding_dim=16, neck="linear"),
    "engine": "fsdp2",
}
RUNS = {
    "skip": SKIP,
    "rewind": REWIND,
    "skip with statistics": SKIP._replace(**WITH_STATISTICS),
    "rewind with statistics": REWIND._replace(**WITH_STATISTICS),
}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what is not bit for bit the same."""
    assert one.keys() == other.keys()
    return [
        f"{part} {name}"
        for part in one
        for name in one[part].keys() | other[part].keys()
        if not torch.equal(one[part][name], other[part][name])
    ]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the runs on two ranks."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def on_two(tiny_dataset: Path, run_dir: Path) -> list[dict[str, Any]]:
    """What two ranks end with, by run."""
    return run_ranks(fit_each, 2, tiny_dataset, run_dir, RUNS, timeout_s=240.0)


@pytest.mark.parametrize("name", RUNS)
def test_nothing_of_the_step_is_left(name: str, on_two: list[dict[str, Any]]) -> None:
    """Weights, momentum, tables, running statistics: as before the step, or as at the checkpoint."""
    left_with = BROKEN if RUNS[name].action == "skip" else RESUMED_AT
    for results in on_two:
        run = results[name]
        assert differences(run["states"][BROKEN + 1], run["states"][left_with]) == []
        assert differences(run["states"][BROKEN], run["states"][RESUMED_AT])
        assert len(run["losses"]) == NUM_STEPS * ACCUMULATION
        assert [loss == loss for loss in run["losses"]].index(False) == (BROKEN + 1) * ACCUMULATION - 1
        factors = [SCHEDULE.factor(step, total_steps=NUM_STEPS) for step in range(NUM_STEPS)]
        assert run["rates"] == [LEARNING_RATE * factor for factor in factors], "the schedule goes on"


@pytest.mark.parametrize("action", ["skip", "rewind"])
def test_all_ranks_end_where_one_process_ends(
    action: str, on_two: list[dict[str, Any]], tiny_dataset: Path, tmp_path: Path
) -> None:
    (alone,) = run_ranks(fit, 1, tiny_dataset, tmp_path, RUNS[action])
    for results in on_two:
        assert_all_close(results[action]["backbone"], alone["backbone"])
        assert results[action]["rates"] == alone["rates"]
    assert_all_close(whole_tables([results[action] for results in on_two]), alone["tables"])
    if action == "skip":
        (expected,) = run_ranks(plain_loop, 1, tiny_dataset, BROKEN)
        assert_all_close(alone["backbone"], expected["backbone"])
        assert_all_close(alone["tables"], expected["tables"])


@pytest.mark.parametrize("resume", [RESUMED_AT, BROKEN + 1], ids=["before", "after"])
def test_resumed_runs_end_with_the_same_bits(
    resume: int, on_two: list[dict[str, Any]], tiny_dataset: Path, run_dir: Path
) -> None:
    resumed = run_ranks(
        fit_each, 2, tiny_dataset, run_dir, {name: run._replace(resume=resume) for name, run in RUNS.items()}
    )
    for before, after in zip(on_two, resumed, strict=True):
        for name in RUNS:
            parts = ("backbone", "tables")
            assert differences(*({part: run[name][part] for part in parts} for run in (after, before))) == [], name


def end_of(dataset: Path, run_dir: Path, runs: dict[str, Run]) -> list[str]:
    """What each run ends with on this rank."""
    ends = []
    for name, run in runs.items():
        try:
            fit(dataset, run_dir / name, run)
            ends.append("done")
        except NonFiniteLossError as error:
            ends.append(str(error))
    return ends


def test_what_has_no_end_ends(tiny_dataset: Path, run_dir: Path, on_two: list[dict[str, Any]]) -> None:
    """The count is that of the whole run; without a checkpoint nothing can be gone back to."""
    again = SKIP._replace(broken=(BROKEN, BROKEN + 1), at_most=1)
    runs = {
        "anew": again,
        "skip": again._replace(resume=BROKEN + 1),
        "none yet": REWIND._replace(broken=(RESUMED_AT - 1,)),
    }
    ends = run_ranks(end_of, 2, tiny_dataset, run_dir, runs)
    assert ends[0] == ends[1]
    for end in ends[0][:2]:
        assert f"at step {BROKEN + 1} " in end and "after 1 times that non_finite.action skip has dealt with it" in end
    assert "there is no checkpoint yet to go back to" in ends[0][2]


class OnFullDisk(Checkpointing):
    """From the second checkpoint on, until training ends, the disk is full."""

    def __init__(self, stack: ExitStack, **options: Any) -> None:
        super().__init__(**options)
        self.stack = stack

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2 * RESUMED_AT * ACCUMULATION:
            self.stack.enter_context(full_disk(1000))
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.stack.close()
        super().on_train_end(trainer, pl_module)


def fit_on_full_disk(dataset: Path, run_dir: Path, run: Run) -> dict[str, Any]:
    with ExitStack() as stack, patch.object(engine_runs, "Checkpointing", partial(OnFullDisk, stack)):
        return fit(dataset, run_dir, run)


def test_goes_back_past_a_checkpoint_that_could_not_be_written(tiny_dataset: Path, tmp_path: Path) -> None:
    """It is being written when the step breaks."""
    (result,) = run_ranks(fit_on_full_disk, 1, tiny_dataset, tmp_path, REWIND._replace(broken=(2 * RESUMED_AT,)))
    (alone,) = run_ranks(fit, 1, tiny_dataset, tmp_path / "skip", SKIP._replace(broken=tuple(range(2, NUM_STEPS))))
    assert differences(*({"backbone": run["backbone"], "tables": run["tables"]} for run in (result, alone))) == []
