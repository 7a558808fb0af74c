"""Plots of the training itself: losses, how far centers are from their nearest others, and both by class frequency."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lightning_face import attempts
from lightning_face.distributed.collectives import all_reduce_min_
from lightning_face.evaluation.drawing import Figure, save
from lightning_face.evaluation.figures import long_tail_figure, losses_figure, nearest_center_figure
from lightning_face.evaluation.nearest_centers import nearest_center_distances
from lightning_face.loggers import METRICS_FILE, show
from lightning_face.module import FaceModule
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.long_tail import BUCKETS
from lightning_face.objectives.objective import DISPLACEMENT, Objective
from lightning_face.objectives.softmax import ACCURACY
from lightning_face.tables.centers import NEVER
from lightning_face.trainer import FaceTrainer

LOSSES = ("loss", *(term.name for term in fields(ObjectiveConfig)))
"""What is drawn of training: the loss and its terms."""

BY_BUCKET = {"softmax": "Softmax loss", "center": "Center loss", ACCURACY: "Accuracy", DISPLACEMENT: "Displacement"}
"""What is drawn bucket by bucket, and its title."""

MAX_DISTANCES = 200_000_000
"""Distances computed for one plot of the nearest centers."""


@dataclass(frozen=True)
class MeasuredCenters:
    """Centers of R classes, drawn evenly from all.

    Args:
        nearest_R: distance to the nearest other center, Euclidean; nan of a center that never moved, and such a one is
            nobody's nearest: it is where it was drawn, or nowhere.
        staleness_R: steps since the center last moved, 0 if it did in the last one; nan if it never did.
        buckets_R: of the classes, places in `BUCKETS`.
        images_R: of the classes.
    """

    nearest_R: np.ndarray
    staleness_R: np.ndarray
    buckets_R: np.ndarray
    images_R: np.ndarray

    def scalars(self) -> dict[str, float]:
        """Medians of each bucket among those that moved, and the share that never did."""
        scalars: dict[str, float] = {}
        for place, bucket in enumerate(BUCKETS):
            chosen = self.buckets_R == place
            if not chosen.any():
                continue
            figures = {"nearest": self.nearest_R, "staleness": self.staleness_R}
            known = {name: values_R[chosen & ~np.isnan(values_R)] for name, values_R in figures.items()}
            scalars[f"centers/never_moved_{bucket}"] = 1.0 - len(known["staleness"]) / chosen.sum()
            scalars |= {f"centers/{name}_{bucket}": float(np.median(of)) for name, of in known.items() if len(of)}
        return scalars


class Plots(Callback):
    """Draws `losses.png`, `nearest_centers.png` and `long_tail.png` after each validation and at the end of training.

    Args:
        num_centers: centers to measure, drawn evenly from all classes; each is compared with every other.
    """

    def __init__(self, num_centers: int = 10_000) -> None:
        self.num_centers = num_centers
        self._measured: MeasuredCenters | None = None

    def on_validation_epoch_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Measure the centers while training, the same on all ranks, and log them."""
        if trainer.state.fn == "fit":
            self._measured = self._measure(trainer, pl_module.objective)
            if self._measured is not None:
                pl_module.log_dict(self._measured.scalars(), rank_zero_only=False, sync_dist=False)

    def on_validation_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Draw while training."""
        if trainer.state.fn == "fit":
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Draw the final state."""
        self._measured = self._measure(trainer, pl_module.objective)
        self._draw(trainer, pl_module)

    def _draw(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        measured, self._measured = self._measured, None
        if not trainer.is_global_zero:
            return
        steps, series = read_series(trainer.run_dir / METRICS_FILE)
        losses = losses_of(series)
        if losses:
            publish(trainer, losses_figure(steps, losses), "losses")
        if measured is not None and not np.isnan(measured.nearest_R).all():
            mml = pl_module.objective_config.mml
            distances = {f"step {trainer.global_step}": measured.nearest_R[~np.isnan(measured.nearest_R)]}
            figure = nearest_center_figure(distances, mml.margin if mml else None)
            publish(trainer, figure, "nearest_centers")
        by_bucket = series_by_bucket(series)
        if by_bucket:
            publish(trainer, _long_tail_figure(steps, by_bucket, measured), "long_tail")

    def _measure(self, trainer: FaceTrainer, objective: Objective) -> MeasuredCenters | None:
        """Some of the centers; every rank looks for the nearest among its share of the rows."""
        centers = objective.centers
        if centers is None or centers.num_classes == 1:
            return None
        # Each is compared with every other: the number falls as classes grow, so that it stays a matter of seconds.
        num_centers = max(1, min(self.num_centers, MAX_DISTANCES // centers.num_classes))
        stride = -(-centers.num_classes // num_centers)
        classes = torch.arange(0, centers.num_classes, stride, device=centers.rows_HD.device)
        first_class, rows, own_moved_at = centers.share()
        has_center, probes = own_moved_at != NEVER, centers.rows_of(classes)
        nearest = all_reduce_min_(nearest_center_distances(probes, classes, rows, first_class, has_center))
        moved_at = centers.of_any(centers.moved_at_H, classes).double()
        nearest = nearest.where((moved_at != NEVER) & nearest.isfinite(), torch.nan)
        staleness = (centers.num_steps - 1 - moved_at).where(moved_at != NEVER, torch.nan)
        images = trainer.datamodule.faces.class_counts()[classes.cpu()]
        of_classes = (nearest, staleness, objective.buckets_C[classes], images)
        return MeasuredCenters(*(tensor.cpu().numpy() for tensor in of_classes))


def publish(trainer: FaceTrainer, figure: Figure, name: str) -> None:
    """Write a plot to the run's folder and show it in W&B; one that cannot be written stops no run."""
    path = trainer.run_dir / "plots" / f"{name}.png"
    if not attempts.is_latest(trainer.run_dir):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(figure, path)
    except OSError as error:
        rank_zero_warn(f"{path} cannot be written now ({error.strerror})")
    else:
        show(trainer.loggers, path)


def _long_tail_figure(
    steps: np.ndarray, by_bucket: dict[str, dict[str, np.ndarray]], measured: MeasuredCenters | None
) -> Figure:
    if measured is None:
        return long_tail_figure(steps, by_bucket, [], {})
    panels = {
        "Distance to the nearest other center": measured.nearest_R,
        "Steps since the center last moved": measured.staleness_R,
    }
    return long_tail_figure(steps, by_bucket, measured.images_R, panels)


def read_series(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All that a run's `metrics.csv` has of training: steps (S,), and a float64 (S,) series by name, nan between."""
    if not path.is_file():
        return np.empty(0), {}
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("train/loss")]
    if not rows:
        return np.empty(0), {}
    names = [name for name in rows[0] if name.startswith("train/")]
    series = {name.removeprefix("train/"): np.array([float(row[name] or "nan") for row in rows]) for name in names}
    return np.array([int(row["step"]) for row in rows]), series


def losses_of(series: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The loss and its terms."""
    return {name: values for name, values in series.items() if name in LOSSES}


def series_by_bucket(series: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What is logged by bucket: title to the series of each bucket that has any."""
    by_bucket = {
        title: {bucket: series[f"{name}_{bucket}"] for bucket in BUCKETS if f"{name}_{bucket}" in series}
        for name, title in BY_BUCKET.items()
    }
    return {title: buckets for title, buckets in by_bucket.items() if buckets}
