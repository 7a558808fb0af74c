"""Plots of the training, from `metrics.csv` and the centers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lightning_face.callbacks.plots import Plots, losses_of, read_series
from lightning_face.distributed.batch import GlobalBatch
from lightning_face.loggers import METRICS_FILE, CsvLogger
from lightning_face.tables.placement import make_centers


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """A run that logged losses twice, and verification between."""
    logger = CsvLogger(tmp_path)
    names = ("learning_rate", "mml_close_pairs", "mml_smallest_distance", "accuracy", "displacement", "softmax_tail")
    no_losses = {f"train/{name}": 0.1 for name in names}
    logger.log_metrics({"train/loss": 3.0, "train/softmax": 2.0, **no_losses, "epoch": 0}, 0)
    logger.log_metrics({"verification/accuracy": 0.9, "epoch": 0}, 5)
    logger.log_metrics({"train/loss": 1.5, "train/softmax": 1.0, "train/center": 0.5, "epoch": 0}, 9)
    return tmp_path / METRICS_FILE


def test_reads_the_loss_and_its_terms(metrics: Path) -> None:
    steps, series = read_series(metrics)
    assert series["softmax_tail"][0] == 0.1 and np.isnan(series["softmax_tail"][1])
    series = losses_of(series)
    assert steps.tolist() == [0, 9]
    assert {name: values.tolist() for name, values in series.items() if name != "center"} == {
        "loss": [3.0, 1.5],
        "softmax": [2.0, 1.0],
    }
    assert np.isnan(series["center"][0]) and series["center"][1] == 0.5


@pytest.mark.parametrize("text", [None, "", "step,train/loss\r\n", "step,epoch\r\n0,0\r\n"])
def test_run_without_losses_has_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / METRICS_FILE).write_text(text)
    steps, series = read_series(tmp_path / METRICS_FILE)
    assert not len(steps) and not series


def run(run_dir: Path, num_classes: int | None, **trainer: Any) -> tuple[Any, Any]:
    """Trainer and module as far as the callback looks at them."""
    options = {"rate": 0.5, "init": "normal", "init_std": 1.0, "seed": 1, "device": torch.device("cpu")}
    centers = None if num_classes is None else make_centers("replicated", num_classes, 4, **options)
    module = SimpleNamespace(
        objective=SimpleNamespace(centers=centers, buckets_C=torch.arange(num_classes or 0) % 3),
        objective_config=SimpleNamespace(mml=SimpleNamespace(margin=1.0)),
    )
    data = SimpleNamespace(faces=SimpleNamespace(class_counts=lambda: 10 ** (2 - torch.arange(num_classes) % 3)))
    defaults = {"run_dir": run_dir, "is_global_zero": True, "global_step": 3, "loggers": [], "datamodule": data}
    return SimpleNamespace(**{**defaults, **trainer}), module


@pytest.mark.parametrize(
    ("num_classes", "expected"),
    [
        (25, ["long_tail.png", "losses.png", "nearest_centers.png"]),
        (1, ["long_tail.png", "losses.png"]),
        (None, ["long_tail.png", "losses.png"]),
    ],
)
def test_draws_what_there_is(metrics: Path, num_classes: int | None, expected: list[str]) -> None:
    trainer, module = run(metrics.parent, num_classes)
    if num_classes is not None:
        module.objective.centers.moved_at_H.zero_()
    Plots(num_centers=7).on_train_end(trainer, module)
    folder = metrics.parent / "plots"
    assert sorted(path.name for path in folder.iterdir()) == expected
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())


@pytest.mark.parametrize("changes", [{"is_global_zero": False}, {"state": SimpleNamespace(fn="validate")}], ids=str)
def test_draws_nothing_on_other_ranks_or_outside_training(metrics: Path, changes: dict[str, Any]) -> None:
    state = {"state": SimpleNamespace(fn="fit")}
    Plots().on_validation_end(*run(metrics.parent, 5, **{**state, **changes}))
    assert not (metrics.parent / "plots").exists()


def test_centers_are_measured_by_bucket(tmp_path: Path) -> None:
    """Of twelve classes the first half moved, those of the head again in the second of three steps."""
    trainer, module = run(tmp_path, 12, state=SimpleNamespace(fn="fit"))
    logged: dict[str, float] = {}
    module.log_dict = lambda scalars, **_: logged.update(scalars)
    centers, features = module.objective.centers, torch.zeros(6, 4)
    for labels in (torch.arange(6), torch.tensor([0, 3, 0, 3, 0, 3]), torch.full((6,), 1)):
        centers.observe(GlobalBatch(features, labels), differentiable=False)
        centers.step()
    moved = centers.rows_HD[:6]  # the others are where they were drawn, which says nothing
    nearest = [min(float((row - other).norm()) for other in moved if not torch.equal(other, row)) for row in moved]
    Plots().on_validation_epoch_end(trainer, module)
    expected = {"staleness_head": 1.0, "staleness_middle": 1.0, "staleness_tail": 2.0}
    for place, bucket in enumerate(("head", "middle", "tail")):
        expected |= {f"never_moved_{bucket}": 0.5, f"nearest_{bucket}": float(np.median(nearest[place::3]))}
    assert logged == pytest.approx({f"centers/{name}": value for name, value in expected.items()})
