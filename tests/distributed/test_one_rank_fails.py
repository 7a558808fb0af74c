"""What one rank alone cannot write or read is one line on every rank, and none waits for another."""

from collections.abc import Callable
from concurrent.futures import wait
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from pytorch_lightning.plugins.environments import TorchElasticEnvironment

from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.checkpoint.choice import check_intact
from lightning_face.checkpoint.directory import checkpoints_of, name_of
from lightning_face.distributed.agreement import on_every_rank
from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import CheckpointError, DataError
from lightning_face.module import FaceModule
from lightning_face.tables.block import own_classes
from tests.disk import full_disk
from tests.ranks import run_ranks, torchrun
from tests.unit.callbacks.test_checkpointing import TinyModule, fit

FAILING_STEP = 4


Breakage = Callable[[], AbstractContextManager[None]]


class Breaks(Checkpointing):
    """Saves every second step; before the second time, something breaks, until a batch or for good.

    Notes the last batch that began.
    """

    def __init__(self, breakage: AbstractContextManager[None], stack: ExitStack, mended_at: int | None) -> None:
        super().__init__(every_n_steps=2, keep=1)
        self.breakage, self.stack, self.mended_at = breakage, stack, mended_at

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == FAILING_STEP:
            self.stack.enter_context(self.breakage)
        if batch_idx == self.mended_at:
            self.stack.close()
        self.batch_idx = batch_idx
        if batch_idx == FAILING_STEP + 1:
            wait([trainer.saver._under_way])
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)


def sharded() -> Any:
    """Centers of 1000 classes, each rank with a share of their rows."""
    rows, held = torch.zeros(1000 // world_size(), 2), {"centers": own_classes(1000)}
    shapes = {"centers": [1000, 2]}
    return SimpleNamespace(state=lambda: {"centers": rows}, held=lambda: held, shapes=lambda: shapes)


def fit_while_it_breaks(
    run_dir: Path, on_rank: int, breakage: Breakage, mended_at: int | None = None
) -> tuple[str, int, int]:
    """Where something breaks on a rank: the error this rank ends with, its last batch, and how many saves failed."""
    callback = Breaks(breakage() if rank() == on_rank else nullcontext(), stack := ExitStack(), mended_at)
    options = {"devices": world_size(), "strategy": "ddp", "plugins": [TorchElasticEnvironment()]}
    with stack, torchrun():
        try:
            fit(run_dir, callback, objective=sharded(), **options)
        except CheckpointError as error:
            return str(error), callback.batch_idx, callback._num_failed
    return "done", callback.batch_idx, callback._num_failed


@pytest.mark.parametrize("on_rank", [pytest.param(0, id="weights"), pytest.param(1, id="tables")])
def test_checkpoint_that_one_rank_cannot_write(tmp_path: Path, on_rank: int) -> None:
    ends = run_ranks(fit_while_it_breaks, 2, tmp_path, on_rank, partial(full_disk, 1000))
    errors, folder = [error for error, *_ in ends], checkpoints_of(tmp_path)
    assert errors[0] == errors[1] and "\n" not in errors[0]
    assert errors[0].startswith(f"rank {on_rank}: {folder}")
    assert "File too large" in errors[0] and "another --run_dir" in errors[0]
    # Training has gone on without those of steps 4 and 6; that of the last step has to be saved.
    assert [others for _, *others in ends] == [[7, 2]] * 2
    assert check_intact(folder / "last").step == 2
    # The former one is whole; of the one that could not be written nothing is left.
    assert sorted(path.name for path in folder.iterdir()) == ["last", name_of(2)]


def test_checkpoint_that_one_rank_cannot_write_for_a_while(tmp_path: Path) -> None:
    ends = run_ranks(fit_while_it_breaks, 2, tmp_path, 1, partial(full_disk, 1000), FAILING_STEP + 2)
    assert ends == [("done", 7, 1)] * 2
    assert check_intact(checkpoints_of(tmp_path) / "last").step == 8


def resume(run_dir: Path, unreadable: str) -> str:
    """The error that this rank ends with, where rank 1 cannot read a part of the checkpoint."""
    options = {"devices": world_size(), "strategy": "ddp", "plugins": [TorchElasticEnvironment()]}
    failing = patch(unreadable, side_effect=PermissionError(13, "Permission denied"))
    with torchrun():
        fit(run_dir, Checkpointing(), max_steps=1, **options)
        with failing if rank() == 1 else nullcontext(), patch.object(TinyModule, "on_load_checkpoint", load_tables):
            try:
                fit(run_dir, Checkpointing(), resume=1, **options)
            except CheckpointError as error:
                return str(error)
    return "nothing went wrong"


def load_tables(module: TinyModule, checkpoint: dict[str, Any]) -> None:
    """As the real module does."""
    for method in (FaceModule.load_tables, FaceModule._load_tables, FaceModule._needs_tables):
        setattr(module, method.__name__, partial(method, module))
    FaceModule.on_load_checkpoint(module, checkpoint)


@pytest.mark.parametrize("unreadable", ["torch.load", "lightning_face.module.load_tables"])
def test_checkpoint_that_one_rank_cannot_read(tmp_path: Path, unreadable: str) -> None:
    errors = run_ranks(resume, 2, tmp_path, unreadable)
    expected = f"rank 1: {checkpoints_of(tmp_path) / name_of(1)} could not be read (Permission denied)"
    assert errors[0] == errors[1] and errors[0].startswith(expected)


def met_on_every_rank(errors: list[Exception | None]) -> str:
    """What each rank raises, or returns."""

    def work() -> str:
        error = errors[rank()]
        if error is not None:
            raise error
        return f"done by {rank()}"

    try:
        return on_every_rank(work)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([None, None], ["done by 0", "done by 1"]),
        ([None, DataError("no tar")], ["DataError: rank 1: no tar"] * 2),
        ([CheckpointError("full"), DataError("no tar")], ["CheckpointError: rank 0: full"] * 2),
        ([None, KeyError("a bug")], ["RuntimeError: rank 1: KeyError('a bug')", "KeyError: 'a bug'"]),
    ],
    ids=["none", "one", "both", "defect"],
)
def test_all_ranks_fail_where_one_does(errors: list[Exception | None], expected: list[str]) -> None:
    assert run_ranks(met_on_every_rank, 2, errors) == expected
