"""A signal that reaches one rank, at any moment, stops all ranks at the same step with everything saved once."""

import csv
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import TorchElasticEnvironment

from lightning_face import attempts, signals, watchdog
from lightning_face.callbacks.attempts import Attempts
from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.callbacks.preemption import Preemption
from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import PreemptedError, SupersededError
from lightning_face.loggers import METRICS_FILE, CsvLogger
from tests.disk import full_disk
from tests.ranks import RankError, run_ranks, torchrun
from tests.unit.callbacks.test_checkpointing import fit, steps

EPOCH = 8
FIGURES = [0.5, 0.4]


@contextmanager
def caught() -> Iterator[None]:
    """As the program does from its first line on, for the length of a test."""
    former = [signal.getsignal(number) for number in signals.STOPPING]
    with patch.object(signals, "_first", 0):
        signals.catch()
        try:
            yield
        finally:
            for number, handler in zip(signals.STOPPING, former, strict=True):
                signal.signal(number, handler)


class Signals(Callback):
    """Signals the last rank in given hooks, once a number of steps is made."""

    def __init__(self, hooks: list[str], step: int, number: signal.Signals) -> None:
        for hook in hooks:
            setattr(self, hook, lambda trainer, *args, **options: self._send(trainer, step, number))

    def _send(self, trainer: Any, step: int, number: signal.Signals) -> None:
        if trainer.global_step == step and rank() == world_size() - 1:
            os.kill(os.getpid(), number)


def stopped(run_dir: Path, hooks: list[str], step: int, number: signal.Signals, options: dict[str, Any]) -> Any:
    """What this rank ends with, where the last rank is signalled."""
    others = (Preemption(), Signals(hooks, step, number))
    with torchrun(), caught():
        try:
            fit(
                run_dir, Checkpointing(every_n_steps=3, keep=9), others=others, max_steps=12, devices=world_size(),
                strategy="ddp" if world_size() > 1 else "auto", plugins=[TorchElasticEnvironment()], **options,
            )  # fmt: skip
        except PreemptedError as error:
            return str(error)
    return "done"


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize(
    ("hooks", "step", "expected"),
    [
        pytest.param(["on_train_batch_end"], 5, 5, id="in a step"),
        pytest.param(["on_train_batch_end", "on_train_batch_start", "on_save_checkpoint"], 5, 5, id="three times"),
        pytest.param(["on_validation_start"], 4, 4, id="in a validation"),
        pytest.param(["on_train_batch_end"], EPOCH, EPOCH, id="at the end of an epoch"),
        # Begun at the boundary where the signal came: one step later than after the step itself.
        pytest.param(["on_save_checkpoint"], 3, 4, id="while saving"),
    ],
)
def test_all_ranks_stop_at_one_step(tmp_path: Path, num_ranks: int, hooks: list[str], step: int, expected: int) -> None:
    options = {"figures": [0.5, 0.4, 0.3], "val_check_interval": 4}
    said = run_ranks(stopped, num_ranks, tmp_path, hooks, step, signal.SIGUSR1, options)
    # What one rank knows at a boundary, others know at the next one.
    expected += num_ranks > 1
    assert said == num_ranks * [
        f"stopped by SIGUSR1 after step {expected}, saved as {tmp_path}/checkpoints/step-{expected:08d}; start the same"
        " command again to go on"
    ]
    due = {3, 4, 6} if expected >= 6 else {3, 4}  # after step 4 the figures are best
    assert steps(tmp_path) == sorted(due & set(range(expected)) | {expected})


def stopped_on_a_full_disk(run_dir: Path) -> str:
    """What this rank ends with, where nothing can be written when it is to stop."""

    def save_now(saving: Checkpointing, trainer: Any, save_now: Any = Checkpointing.save_now) -> Path:
        saving.wait(trainer)
        with full_disk(1000):
            return save_now(saving, trainer)

    with patch.object(Checkpointing, "save_now", save_now):
        return stopped(run_dir, ["on_train_batch_end"], 4, signal.SIGTERM, {})


def test_what_cannot_be_saved_is_told_and_made_again(tmp_path: Path) -> None:
    (line, other), folder = run_ranks(stopped_on_a_full_disk, 2, tmp_path), tmp_path / "checkpoints"
    assert line == other
    assert line.startswith(f"stopped by SIGTERM after step 5, but rank 0: {folder}/step-00000005 could not be written")
    ends = f"; the 2 steps since {folder}/step-00000003 are lost; start the same command again to go on"
    assert "File too large" in line and line.endswith(ends)
    assert steps(tmp_path) == [3]


def test_no_rank_stops_within_an_accumulation(tmp_path: Path) -> None:
    said = run_ranks(stopped, 2, tmp_path, ["on_before_backward"], 4, signal.SIGTERM, {"accumulate_grad_batches": 2})
    assert ["after step 6," in line for line in said] == [True, True]
    assert steps(tmp_path) == [3, 6]


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_epoch_start"])
def test_before_the_first_step_nothing_is_made(tmp_path: Path, hook: str) -> None:
    said = run_ranks(stopped, 2, tmp_path, [hook], 0, signal.SIGTERM, {})
    assert said == 2 * [
        "stopped by SIGTERM before the first step, nothing is lost; start the same command again to go on"
    ]
    assert not (tmp_path / "checkpoints").exists()


class TakesOver(Callback):
    """Begins another attempt at the run, as a process elsewhere does, while a step is made."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        pl_module.log("train/loss", 1.0)
        if trainer.global_step == self.step and rank() == 0:
            record = {"number": 2, "job": "4711", "host": "elsewhere", "started_at": "now"}
            (trainer.run_dir / attempts.ATTEMPT_FILE).write_text(json.dumps(record))


def superseded(run_dir: Path, logs: bool, every: int) -> str:
    """What this rank ends with, where another attempt begins in step 3."""
    others = (Preemption(), Attempts(), TakesOver(3))
    logger = CsvLogger(run_dir) if logs else False
    options = {"devices": world_size(), "strategy": "ddp", "plugins": [TorchElasticEnvironment()]}
    with torchrun():
        try:
            fit(
                run_dir, Checkpointing(every_n_steps=every, keep=9), [0.5], others=others, logger=logger,
                log_every_n_steps=1, **options,
            )  # fmt: skip
        except SupersededError as error:
            return str(error)
    return "done"


@pytest.mark.parametrize(("logs", "every"), [(True, 100), (False, 2)], ids=["found when logging", "found when saving"])
def test_a_later_attempt_ends_all_ranks_of_this_one(tmp_path: Path, logs: bool, every: int) -> None:
    said = run_ranks(superseded, 2, tmp_path, logs, every)
    assert said[0] == said[1]
    assert said[0].startswith("rank 0: attempt 1 ends, nothing is lost: attempt 2 (job 4711 on elsewhere, since now)")
    assert set(steps(tmp_path)) <= {2}  # if it was published before the other attempt began
    if logs:
        with (tmp_path / METRICS_FILE).open(newline="") as file:
            assert [row["step"] for row in csv.DictReader(file)] == ["0", "1", "2"]


class Sticks(Callback):
    """One rank is late in a step, and in a later one stands still, as one does whose driver or disk hangs."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        watchdog.alive()
        if rank() == 1 and batch_idx == 1:
            threading.Event().wait(1.0)
        if rank() == 1 and batch_idx == 2:
            self.stand_still()

    def stand_still(self) -> None:
        threading.Event().wait()


def fit_that_sticks(run_dir: Path) -> None:
    options = {"devices": world_size(), "strategy": "ddp", "plugins": [TorchElasticEnvironment()]}
    with torchrun(), watchdog.watching(0.05, rank()):
        fit(run_dir, Checkpointing(), others=[Preemption(), Sticks()], **options)


def test_a_rank_may_be_late_but_where_it_stands_still_all_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each says where it stands, before the end of one ends the others."""
    with pytest.raises(RankError, match="of 2: died with exit code 1"):
        run_ranks(fit_that_sticks, 2, tmp_path, fresh=True)
    said = capfd.readouterr().err
    for number in range(2):
        assert f"error: rank {number} (process " in said
    assert said.count("stands still for 0.05 minutes and ends") == said.count("in fit_that_sticks") == 2
    assert said.count("in stand_still") == 1


def test_after_the_last_step_the_run_is_done(tmp_path: Path) -> None:
    hooks = ["on_train_batch_end", "on_train_epoch_end", "on_save_checkpoint", "on_train_end"]
    assert run_ranks(stopped, 2, tmp_path, hooks, 12, signal.SIGTERM, {}) == ["done", "done"]
    assert steps(tmp_path)[-1] == 12
