"""Checkpoints are written while training goes on, and hold what was there when they were due."""

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import TorchElasticEnvironment

from lightning_face import trainer
from lightning_face.callbacks.attempts import Attempts
from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.checkpoint import contents
from lightning_face.checkpoint.choice import check_intact, last_intact
from lightning_face.checkpoint.directory import Description, checkpoints_of, describe, name_of, partial_of
from lightning_face.checkpoint.saver import Saver
from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import NonFiniteLossError
from lightning_face.module import FaceModule
from tests.distributed.test_one_rank_fails import sharded
from tests.ranks import RankError, run_ranks, torchrun
from tests.unit.callbacks.test_checkpointing import fit, steps

SAVED, LAST = 5, 8
GATE_LIMIT_S = 60.0
write_own_files = contents._write_own_files


class Gate(Callback):
    """Holds the thread of one rank, as a slow disk does, until training is two steps further."""

    def __init__(self, on_rank: int) -> None:
        self.opened = threading.Event()
        self.is_here = rank() == on_rank
        self.folder: list[str] = []

    def write(self, *args: Any) -> Any:
        """In place of what writes the files."""
        assert not self.is_here or self.opened.wait(GATE_LIMIT_S)
        return write_own_files(*args)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == LAST - 1:
            self.folder = sorted(path.name for path in checkpoints_of(trainer.run_dir).iterdir())
            self.opened.set()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.opened.set()


class Moves(Callback):
    """Moves the rows in place at every step, as the objective does; fails at a batch."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        pl_module.objective.state()["centers"].add_(1)
        if batch_idx == self.fails_at:
            raise ArithmeticError("of the training")


def fit_with(run_dir: Path, *callbacks: Callback) -> None:
    options = {"devices": world_size(), "strategy": "ddp", "plugins": [TorchElasticEnvironment()]}
    others = (Attempts(), *callbacks)
    torch.manual_seed(1)
    run_dir.mkdir(exist_ok=True)
    with torchrun():
        fit(run_dir, Checkpointing(every_n_steps=SAVED, keep=9), others=others, objective=sharded(), **options)


def fit_at_a_gate(run_dir: Path, on_rank: int) -> list[str]:
    """What is in the folder of checkpoints while the gate is shut."""
    gate = Gate(on_rank)
    with patch.object(contents, "_write_own_files", gate.write):
        fit_with(run_dir, gate, Moves())
    return gate.folder


def fit_without_memory(run_dir: Path) -> list[str]:
    """What is said where the host has no memory for copies."""
    no_memory = patch.object(trainer, "Saver", partial(Saver, memory_share=0.0))
    with no_memory, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_with(run_dir, Moves())
    return [text for text in (str(one.message) for one in caught) if text.startswith("training waits")]


def described(run_dir: Path) -> list[Description]:
    return [check_intact(checkpoints_of(run_dir) / name_of(step)) for step in (SAVED, LAST)]


def test_what_is_published_later_is_what_was_there_when_it_was_due(tmp_path: Path) -> None:
    """Byte for byte what a save writes that training waits for, whichever rank is slow."""
    said = run_ranks(fit_without_memory, 2, tmp_path / "waiting")
    assert [len(lines) for lines in said] == [1, 0]
    assert "and each rank may take 0.00 GB, 0% of its free host memory" in said[0][0]
    for slow in range(2):
        run_dir = tmp_path / f"slow-{slow}"
        assert run_ranks(fit_at_a_gate, 2, run_dir, slow) == [[f".partial-1-{name_of(SAVED)}"]] * 2
        assert described(run_dir) == described(tmp_path / "waiting")


def test_an_error_of_the_training_waits_for_the_checkpoint_under_way(tmp_path: Path) -> None:
    gate = Gate(0)
    with (
        patch.object(contents, "_write_own_files", gate.write),
        pytest.raises(ArithmeticError, match="of the training"),
    ):
        fit(tmp_path, Checkpointing(every_n_steps=SAVED), others=[gate, Moves(fails_at=SAVED)])
    assert steps(tmp_path) == [SAVED]


@contextmanager
def written_when_waited_for(gate: Gate) -> Iterator[None]:
    """A checkpoint's thread goes on when training waits for it, and not before."""

    def open_and_finish(waiting: Saver, finish: Any = Saver.finish) -> None:
        if waiting.is_under_way:
            gate.opened.set()
        finish(waiting)

    held = patch.object(contents, "_write_own_files", gate.write)
    with held, patch.object(Saver, "finish", open_and_finish):
        yield


def test_the_next_checkpoint_waits_for_the_one_under_way(tmp_path: Path) -> None:
    with written_when_waited_for(gate := Gate(0)):
        fit(tmp_path, Checkpointing(every_n_steps=2, keep=9), others=[gate], max_steps=SAVED)
    assert steps(tmp_path) == [2, 4, SAVED]


class Stops(Callback):
    """As a loss does that is not finite."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == SAVED:
            FaceModule.stop(pl_module, "not finite")


def test_what_stops_the_training_names_the_checkpoint_under_way(tmp_path: Path) -> None:
    last = checkpoints_of(tmp_path) / name_of(SAVED)
    with (
        written_when_waited_for(gate := Gate(0)),
        pytest.raises(NonFiniteLossError, match=f"not finite; last good checkpoint: {last};"),
    ):
        fit(tmp_path, Checkpointing(every_n_steps=SAVED), others=[gate, Stops()])
    assert steps(tmp_path) == [SAVED]


def die_while_writing(run_dir: Path) -> None:
    """The thread writes what there is to write, and there the process ends."""
    fit(run_dir, Checkpointing(every_n_steps=2), max_steps=2)

    def write_and_die(*args: Any) -> None:
        write_own_files(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    with patch.object(contents, "_write_own_files", write_and_die):
        fit(run_dir, Checkpointing(every_n_steps=4), resume=2)


def test_a_run_killed_while_it_writes_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    with pytest.raises(RankError, match="died with exit code -9"):
        run_ranks(die_while_writing, 1, tmp_path)
    folder = checkpoints_of(tmp_path)
    names = [partial_of(folder / name_of(4)).name, "last", name_of(2)]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert last_intact(tmp_path) == folder / name_of(2) and describe(folder / "last").step == 2
    fit(tmp_path, Checkpointing(every_n_steps=4), resume=2)
    assert steps(tmp_path) == [4, 8]
