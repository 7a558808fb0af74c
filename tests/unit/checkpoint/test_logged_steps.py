"""A resumed run logs its rows under the steps of an uninterrupted one."""

import csv
from pathlib import Path

import pytest
import torch

from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.checkpoint.choice import check_intact
from lightning_face.checkpoint.directory import DENSE_FILE, checkpoints_of, name_of
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.loggers import METRICS_FILE, CsvLogger
from lightning_face.models import BackboneConfig
from lightning_face.module import FaceModule
from lightning_face.optim.schedules import Schedule
from lightning_face.trainer import FaceTrainer


def fit(dataset: Path, run_dir: Path, max_steps: int, resume: int | None = None) -> None:
    data = FaceDataModule(str(dataset), global_batch_size=24, image_size=32, num_workers=0, lanes=8)
    backbone = BackboneConfig(name="test_resnet", embedding_dim=8)
    torch.manual_seed(1)
    module = FaceModule(data.num_classes, 32, backbone, schedule=Schedule(decay="constant"))
    trainer = FaceTrainer(
        accelerator="cpu",
        default_root_dir=run_dir,
        logger=[CsvLogger(run_dir)],
        callbacks=[Checkpointing(every_n_steps=1, keep=99)],
        max_steps=max_steps,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    path = None if resume is None else checkpoints_of(run_dir) / name_of(resume) / DENSE_FILE
    trainer.fit(module, data, ckpt_path=path, weights_only=True)


def loss_rows(run_dir: Path) -> list[dict[str, str]]:
    """Rows of training steps; a run that ends within an epoch also logs what it logs at the end of one."""
    with (run_dir / METRICS_FILE).open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.parametrize("step", [3, 8], ids=["in an epoch", "between two epochs"])
def test_rows_of_a_resumed_run_are_those_of_one_that_was_not_stopped(
    tiny_dataset: Path, tmp_path: Path, step: int
) -> None:
    """Lightning itself counts one too many where it is resumed at a step with a validation that may be due."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(tiny_dataset, whole, 10)
    fit(tiny_dataset, stopped, step)
    fit(tiny_dataset, stopped, 10, resume=step)
    assert loss_rows(stopped) == loss_rows(whole)
    assert [int(row["step"]) for row in loss_rows(stopped)] == list(range(10))
    last = [check_intact(checkpoints_of(run) / "last") for run in (whole, stopped)]
    assert last[0].files["tables-00000.safetensors"] == last[1].files["tables-00000.safetensors"]
