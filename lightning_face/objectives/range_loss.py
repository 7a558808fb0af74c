"""The range loss term."""

import math
from dataclasses import dataclass

from torch import Tensor

from lightning_face.distributed.world import world_size
from lightning_face.errors import ConfigError
from lightning_face.losses import inter_class_loss, intra_class_ranges, nearest_means
from lightning_face.objectives.batch import MicroBatch, Reduction, check_reduction
from lightning_face.objectives.pairs import check_distance, check_weight

NEAREST_MEANS = "range_smallest_distance"
"""A fact that is logged beside the loss: distance, not squared, of the two nearest classes' means."""


@dataclass(frozen=True)
class RangeConfig:
    """Range loss (Zhang et al., ICCV 2017); the paper's constants are not verified.

    Args:
        weight: the paper's lambda.
        intra_weight: the paper's alpha; the default is that of public code.
        inter_weight: the paper's beta; the default is that of public code.
        margin: *squared* distance of the two nearest classes' means over the batch that costs nothing; the default, of
            public code, presumes raw features.
        num_largest: the paper's k: largest distances of each class whose harmonic mean shrinks.
        squared: distances within a class are squared, as in public code; not verified.
        reduction: `sum` over the classes with several samples, as published, or `mean`.
        normalise: compare unit features; the margin must then be at most 4.
    """

    weight: float = 1.0
    intra_weight: float = 1e-4
    inter_weight: float = 1e-3
    margin: float = 2e4
    num_largest: int = 2
    squared: bool = True
    reduction: Reduction = "sum"
    normalise: bool = False

    def __post_init__(self) -> None:
        check_weight("range", self.weight)
        check_reduction("range", self.reduction)
        check_distance("range.margin", self.margin, normalise=self.normalise, squared=True)
        if self.num_largest < 1:
            raise ConfigError(f"range.num_largest must be at least 1, got {self.num_largest}; the paper uses 2")
        weights = self.intra_weight, self.inter_weight
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise ConfigError(
                "range.intra_weight and range.inter_weight must be finite and not negative, and one of them above 0,"
                f" got {self.intra_weight} and {self.inter_weight}"
            )


class RangeTerm:
    """Shrinks the largest distances within classes, moves the two nearest classes apart.

    The distances concerned are few: every rank computes all of them and answers for an equal share of the value.
    """

    name = "range"

    def __init__(self, config: RangeConfig) -> None:
        self.weight = config.weight
        self._config = config

    def part(self, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `PairTerm.part`."""
        config = self._config
        features_GD = batch.unit.features_GD if config.normalise else batch.features_GD
        ranges_R = intra_class_ranges(features_GD, batch.labels_G, config.num_largest, squared=config.squared)
        intra = ranges_R.sum() / (max(len(ranges_R), 1) if config.reduction == "mean" else 1)
        square = nearest_means(features_GD, batch.labels_G)
        loss = config.intra_weight * intra + config.inter_weight * inter_class_loss(square, config.margin)
        return loss / world_size(), {NEAREST_MEANS: square.detach().sqrt()}
