"""Losses as pure functions of tensors: no process group, no Lightning."""

from lightning_face.losses.center import center_loss, class_sums, moved_centers
from lightning_face.losses.minimum_margin import minimum_margin_loss, squared_distances
from lightning_face.losses.scoring import Scoring
from lightning_face.losses.softmax import softmax_loss

__all__ = [
    "Scoring",
    "center_loss",
    "class_sums",
    "minimum_margin_loss",
    "moved_centers",
    "softmax_loss",
    "squared_distances",
]
