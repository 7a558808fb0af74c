"""Losses as pure functions of tensors: no process group, no Lightning."""

from lightning_face.losses.center import center_loss, class_sums, moved_centers
from lightning_face.losses.minimum_margin import MinimumMargin
from lightning_face.losses.pair_tiles import ClassRows, tiles
from lightning_face.losses.reductions import LogSumExp, NegativesReduction, SoftplusSum
from lightning_face.losses.scoring import Scores, Scoring
from lightning_face.losses.softmax import softmax_loss

__all__ = [
    "ClassRows",
    "LogSumExp",
    "MinimumMargin",
    "NegativesReduction",
    "Scores",
    "Scoring",
    "SoftplusSum",
    "center_loss",
    "class_sums",
    "moved_centers",
    "softmax_loss",
    "tiles",
]
