"""When checkpoints are taken and which are kept, in Lightning's real loops."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_face.callbacks import checkpointing
from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.callbacks.verification import MONITORED
from lightning_face.checkpoint.choice import check_intact
from lightning_face.checkpoint.directory import DENSE_FILE, checkpoints_of
from lightning_face.errors import ConfigError
from lightning_face.trainer import FaceTrainer


class TinyData(LightningDataModule):
    """Eight micro-batches an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.position = SimpleNamespace(state=lambda: {"consumed": 0})
        self.identities_file = Path(__file__)  # any text

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.ones(8, 2), batch_size=None)

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.ones(1, 2), batch_size=None)


class TinyModule(LightningModule):
    """One layer; the figure that verification would report comes from a list."""

    def __init__(self, figures: list[float]) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        centers = {"centers": torch.zeros(3, 2)}
        self.objective = SimpleNamespace(state=lambda: centers, held=dict, shapes=lambda: {"centers": [3, 2]})
        self.figures = iter(figures)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log(MONITORED, next(self.figures))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def fit(
    run_dir: Path,
    callback: Checkpointing,
    figures: list[float] | None = None,
    resume: int | None = None,
    objective: Any = None,
    others: Sequence[Callback] = (),
    **options: Any,
) -> FaceTrainer:
    defaults = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "max_steps": 8,
        "limit_val_batches": 1.0 if figures else 0,
    }
    trainer = FaceTrainer(default_root_dir=run_dir, callbacks=[*others, callback], **{**defaults, **options})
    path = None if resume is None else checkpoints_of(run_dir) / f"step-{resume:08d}" / DENSE_FILE
    module = TinyModule(figures or [])
    module.objective = objective or module.objective
    trainer.fit(module, TinyData(), ckpt_path=path, weights_only=True)
    return trainer


def steps(run_dir: Path) -> list[int]:
    """Steps of the checkpoints there are, all of them intact."""
    return [check_intact(checkpoint).step for checkpoint in sorted(checkpoints_of(run_dir).glob("step-*"))]


def step_of(run_dir: Path, link: str) -> int:
    return check_intact(checkpoints_of(run_dir) / link).step


@pytest.mark.parametrize(
    ("every", "keep", "expected"), [(3, 9, [3, 6, 8]), (4, 9, [4, 8]), (100, 9, [8]), (1, 2, [7, 8])]
)
def test_saves_every_so_many_steps_and_at_the_end(tmp_path: Path, every: int, keep: int, expected: list[int]) -> None:
    fit(tmp_path, Checkpointing(every_n_steps=every, keep=keep))
    assert steps(tmp_path) == expected
    assert step_of(tmp_path, "last") == 8


def test_counts_optimizer_steps_not_micro_batches(tmp_path: Path) -> None:
    fit(tmp_path, Checkpointing(every_n_steps=2, keep=9), max_steps=7, accumulate_grad_batches=2)
    assert steps(tmp_path) == [2, 4, 6, 7]
    dense = torch.load(checkpoints_of(tmp_path) / "step-00000006" / DENSE_FILE, weights_only=True)
    assert dense["global_step"] == 6


def test_resumed_run_leaves_the_checkpoint_it_came_from_alone(tmp_path: Path) -> None:
    fit(tmp_path, Checkpointing(every_n_steps=3, keep=9), max_steps=6)
    former = checkpoints_of(tmp_path) / "step-00000003"
    inode = former.stat().st_ino
    fit(tmp_path, Checkpointing(every_n_steps=3, keep=9), max_steps=5, resume=3)
    assert former.stat().st_ino == inode
    assert steps(tmp_path) == [3, 5, 6]
    assert step_of(tmp_path, "last") == 5


def test_an_old_checkpoint_that_cannot_be_removed_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system keeps files that another process has open; a later save removes them."""
    removals, rmtree = iter([OSError(39, "Directory not empty")]), shutil.rmtree

    def busy_once(path: Path, *args: Any, **options: Any) -> None:
        if (error := next(removals, None)) is not None:
            raise error
        rmtree(path, *args, **options)

    monkeypatch.setattr("shutil.rmtree", busy_once)
    with pytest.warns(UserWarning, match=r"cannot be removed now: .*step-00000002 \(Directory not empty\)"):
        fit(tmp_path, Checkpointing(every_n_steps=2, keep=1), max_steps=6)
    assert steps(tmp_path) == [6]


def test_nothing_is_written_to_the_folder_of_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is often small, and a checkpoint is not."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    fit(tmp_path / "run", Checkpointing(every_n_steps=2), max_steps=2)
    assert steps(tmp_path / "run") == [2]


def test_best_is_kept_beside_the_newest(tmp_path: Path) -> None:
    trainer = fit(
        tmp_path, Checkpointing(every_n_steps=100, keep=1), [0.5, 0.9, 0.7, 0.9], val_check_interval=2, max_steps=8
    )
    assert trainer.callbacks[0].best == {"value": pytest.approx(0.9), "step": 4}
    assert steps(tmp_path) == [4, 8]
    assert (step_of(tmp_path, "best"), step_of(tmp_path, "last")) == (4, 8)


def test_best_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    fit(tmp_path, Checkpointing(every_n_steps=100, keep=1), [0.5, 0.6], max_steps=16)
    assert (steps(tmp_path), step_of(tmp_path, "best")) == ([16], 16)


def test_resumed_run_goes_on_comparing(tmp_path: Path) -> None:
    fit(tmp_path, Checkpointing(every_n_steps=100, keep=1), [0.9, 0.1], val_check_interval=4)
    fit(tmp_path, Checkpointing(every_n_steps=100, keep=1), [0.8, 0.8], val_check_interval=4, max_steps=16, resume=8)
    assert step_of(tmp_path, "best") == 4
    assert steps(tmp_path) == [4, 16]


@pytest.fixture
def minute_per_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a minute each time it is read, and is read at every second step."""

    def minutes() -> Iterator[float]:
        now = 0.0
        while True:
            yield (now := now + 60.0)

    clock = minutes()
    monkeypatch.setattr(checkpointing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(Checkpointing, "CLOCK_EVERY_N_STEPS", 2)


@pytest.mark.usefixtures("minute_per_look")
@pytest.mark.parametrize(("minutes", "expected"), [(0, [9]), (0.5, [2, 4, 6, 8, 9]), (2.5, [6, 9]), (60, [9])])
def test_saves_when_the_minutes_are_over(tmp_path: Path, minutes: float, expected: list[int]) -> None:
    fit(tmp_path, Checkpointing(every_n_steps=100, every_n_minutes=minutes, keep=9), max_steps=9)
    assert steps(tmp_path) == expected


@pytest.mark.parametrize("change", [{"every_n_steps": 0}, {"keep": 0}, {"every_n_minutes": -1.0}], ids=str)
def test_impossible_options_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be above 0 and every_n_minutes not negative, got"):
        Checkpointing(**change)
