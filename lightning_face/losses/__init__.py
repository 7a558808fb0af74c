"""Losses as pure functions of tensors: no process group, no Lightning."""

from lightning_face.losses.center import center_loss, class_sums, moved_centers
from lightning_face.losses.contrastive import contrastive_loss, separating_distance
from lightning_face.losses.hardest import hardest_triplets
from lightning_face.losses.marginal import marginal_loss
from lightning_face.losses.minimum_margin import MinimumMargin
from lightning_face.losses.pair_tiles import ClassRows, tiles
from lightning_face.losses.pairs import Costs, Pairs
from lightning_face.losses.range_loss import inter_class_loss, intra_class_ranges, nearest_means
from lightning_face.losses.reductions import LogSumExp, NegativesReduction, SoftplusSum
from lightning_face.losses.scoring import Scores, Scoring
from lightning_face.losses.softmax import softmax_loss
from lightning_face.losses.triplet import Mining, given_triplet_loss, triplet_loss

__all__ = [
    "ClassRows",
    "Costs",
    "LogSumExp",
    "MinimumMargin",
    "Mining",
    "NegativesReduction",
    "Pairs",
    "Scores",
    "Scoring",
    "SoftplusSum",
    "center_loss",
    "class_sums",
    "contrastive_loss",
    "given_triplet_loss",
    "hardest_triplets",
    "inter_class_loss",
    "intra_class_ranges",
    "marginal_loss",
    "moved_centers",
    "nearest_means",
    "separating_distance",
    "softmax_loss",
    "tiles",
    "triplet_loss",
]
