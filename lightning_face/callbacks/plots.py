"""Plots of the training itself: losses, and how far each center is from its nearest other center."""

import csv
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning import Callback

from lightning_face.distributed.collectives import all_reduce_min_
from lightning_face.evaluation.figures import Figure, losses_figure, nearest_center_figure, save
from lightning_face.evaluation.nearest_centers import nearest_center_distances
from lightning_face.loggers import METRICS_FILE, show
from lightning_face.module import FaceModule
from lightning_face.objectives.objective import ObjectiveConfig
from lightning_face.tables.centers import Centers
from lightning_face.trainer import FaceTrainer

LOSSES = {"train/loss", *(f"train/{term.name}" for term in fields(ObjectiveConfig))}
"""Columns of the metrics that are drawn: the loss and its terms."""

MAX_DISTANCES = 200_000_000
"""Distances computed for one plot of the nearest centers."""


class Plots(Callback):
    """Draws `plots/losses.png` and `plots/nearest_centers.png` after each validation and at the end of training.

    Args:
        num_centers: centers to measure, drawn evenly from all classes; each is compared with every other.
    """

    def __init__(self, num_centers: int = 10_000) -> None:
        self.num_centers = num_centers

    def on_validation_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Draw while training."""
        if trainer.state.fn == "fit":
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Draw the final state."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        centers = pl_module.objective.centers
        distances = self._distances(centers) if centers is not None and centers.num_classes > 1 else None
        if not trainer.is_global_zero:
            return
        (trainer.run_dir / "plots").mkdir(parents=True, exist_ok=True)
        steps, series = read_losses(trainer.run_dir / METRICS_FILE)
        if series:
            self._publish(trainer, losses_figure(steps, series), "losses")
        if distances is not None:
            mml = pl_module.objective_config.mml
            figure = nearest_center_figure({f"step {trainer.global_step}": distances}, mml.margin if mml else None)
            self._publish(trainer, figure, "nearest_centers")

    def _distances(self, centers: Centers) -> np.ndarray:
        """Distances of some centers to the nearest other one; every rank looks among its share of the rows."""
        # Each is compared with every other: the number falls as classes grow, so that it stays a matter of seconds.
        num_centers = max(1, min(self.num_centers, MAX_DISTANCES // centers.num_classes))
        stride = -(-centers.num_classes // num_centers)
        classes = torch.arange(0, centers.num_classes, stride, device=centers.rows_HD.device)
        first_class, rows = centers.share()
        distances = nearest_center_distances(centers.rows_of(classes), classes, rows, first_class)
        return all_reduce_min_(distances).cpu().numpy()

    def _publish(self, trainer: FaceTrainer, figure: Figure, name: str) -> None:
        path = trainer.run_dir / "plots" / f"{name}.png"
        save(figure, path)
        show(trainer.loggers, path)


def read_losses(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The loss and its terms from a run's `metrics.csv`: steps (S,) and a float64 (S,) series per term."""
    if not path.is_file():
        return np.empty(0), {}
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("train/loss")]
    if not rows:
        return np.empty(0), {}
    names = [name for name in rows[0] if name in LOSSES]
    series = {name.removeprefix("train/"): np.array([float(row[name] or "nan") for row in rows]) for name in names}
    return np.array([int(row["step"]) for row in rows]), series
