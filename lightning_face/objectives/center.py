"""The center loss term."""

from dataclasses import dataclass

from torch import Tensor

from lightning_face.errors import ConfigError
from lightning_face.losses import center_loss
from lightning_face.objectives.batch import MicroBatch, Reduction, check_reduction
from lightning_face.tables.centers import Centers
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
        init_std: standard deviation of the initial centers; 0 starts them coincident, where MML has no gradient.
    """

    weight: float = 0.003
    reduction: Reduction = "mean"
    placement: Placement = "auto"
    rate: float = 0.5
    init_std: float = 0.01

    def __post_init__(self) -> None:
        check_reduction("center", self.reduction)
        if not self.weight >= 0:  # written so that nan is refused too
            raise ConfigError(f"center.weight must not be negative, got {self.weight}")
        if not 0 <= self.rate <= 1:
            raise ConfigError(f"center.rate must be in [0, 1], got {self.rate}; the paper uses 0.5")
        if not self.init_std >= 0:
            raise ConfigError(f"center.init_std must not be negative, got {self.init_std}")


class CenterTerm:
    """Half the squared distance of each sample to its class's center, before the centers move."""

    name = "center"

    def __init__(self, config: CenterConfig, centers: Centers) -> None:
        self.weight = config.weight
        self._reduction = config.reduction
        self._centers = centers

    def part(self, batch: MicroBatch) -> Tensor:
        """See `Term.part`."""
        labels_N, features_ND, centers_ND = self._centers.pairs(batch)
        losses_N = center_loss(features_ND, centers_ND)
        batch.figures[self.name] = labels_N, losses_N.detach()
        return losses_N.sum() * batch.sample_factor(self._reduction)
