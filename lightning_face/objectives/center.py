"""The center loss term."""

import math
from dataclasses import dataclass
from typing import get_args

from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.errors import ConfigError
from lightning_face.losses import center_loss
from lightning_face.objectives.batch import MicroBatch, Reduction, check_reduction
from lightning_face.tables.centers import Centers, Init
from lightning_face.tables.placement import Placement


@dataclass(frozen=True)
class CenterConfig:
    """Center loss (Wen et al., ECCV 2016) and the table of centers.

    Args:
        weight: the paper's lambda; 0 keeps the centers moving without a loss.
        reduction: over the global batch; the paper sums softmax and center loss alike, so with both as means lambda
            keeps its strength.
        placement: of the centers: all on every rank, or shared out over the ranks; auto decides by size.
        rate: the paper's alpha in [0, 1], independent of the learning rate.
        normalise: whether centers see features of length one: in the loss, in their update and in MML. They stay
            within the unit ball then, so that squared distances, and with them MML's margin, are at most 4.
        init: `normal` draws a center for each class; `first_seen` sets it to the mean of the class's samples in the
            first optimizer step that has some. Until after that step the class has no center, and its samples add
            nothing to center loss (a mean still divides by all samples of the batch).
        init_std: standard deviation of the drawn centers; 0 starts them coincident, where MML has no gradient; without
            effect with `first_seen`.
    """

    weight: float = 0.003
    reduction: Reduction = "mean"
    placement: Placement = "auto"
    rate: float = 0.5
    normalise: bool = False
    init: Init = "normal"
    init_std: float = 0.01

    def __post_init__(self) -> None:
        check_reduction("center", self.reduction)
        if not 0 <= self.weight < math.inf:  # written so that nan is refused too
            raise ConfigError(f"center.weight must not be negative, nor infinite, got {self.weight}")
        if not 0 <= self.rate <= 1:
            raise ConfigError(f"center.rate must be in [0, 1], got {self.rate}; the paper uses 0.5")
        if self.init not in get_args(Init):
            raise ConfigError(f"center.init must be {' or '.join(get_args(Init))}, got {self.init!r}")
        if not 0 <= self.init_std < math.inf:
            raise ConfigError(f"center.init_std must not be negative, nor infinite, got {self.init_std}")


class CenterTerm:
    """Half the squared distance of each sample to its class's center, before the centers move."""

    name = "center"

    def __init__(self, config: CenterConfig, centers: Centers) -> None:
        self.weight = config.weight
        self._reduction = config.reduction
        self.normalise = config.normalise
        self._centers = centers

    def seen(self, batch: GlobalBatch) -> GlobalBatch:
        """The batch as the centers see it."""
        return batch.unit if self.normalise else batch

    def part(self, batch: MicroBatch) -> Tensor:
        """See `Term.part`."""
        labels_N, features_ND, centers_ND = self._centers.pairs(self.seen(batch))
        losses_N = center_loss(features_ND, centers_ND)
        batch.figures[self.name] = labels_N, losses_N.detach()
        return losses_N.sum() * batch.sample_factor(self._reduction)
