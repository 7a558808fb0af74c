"""The triplet term."""

from dataclasses import dataclass
from typing import get_args

from lightning_face.errors import ConfigError
from lightning_face.losses import Costs, Mining, Pairs, triplet_loss
from lightning_face.objectives.pairs import PairReduction, PairTerm, check_distance, check_pair_reduction, check_weight

ACTIVE_TRIPLETS = "triplet_active"
"""A fact that is logged beside the loss: share of the chosen triplets that cost something."""


@dataclass(frozen=True)
class TripletConfig:
    """Triplet loss, as in FaceNet (Schroff et al., CVPR 2015) by default, or as in Hermans et al. (2017).

    Args:
        weight: factor of the term.
        mining: triplets chosen in the global micro-batch. `semi_hard` (FaceNet): each positive pair with the nearest
            negative that is farther than the positive; which of these FaceNet takes is not verified.
            `hardest_negative`: each positive pair with the nearest negative, at which features may collapse early.
            `batch_hard` (Hermans): each anchor with its farthest positive and nearest negative. `batch_all` (Hermans):
            all triplets.
        margin: by how much a negative must be farther than a positive; null takes the soft margin (Hermans).
        squared: compare squared distances (FaceNet) or distances (Hermans).
        reduction: `mean` over the chosen triplets, `mean_nonzero` over those that cost something (for `batch_all`), or
            `sum` (FaceNet).
        normalise: compare unit features (FaceNet) or raw ones (Hermans).
    """

    weight: float = 1.0
    mining: Mining = "semi_hard"
    margin: float | None = 0.2
    squared: bool = True
    reduction: PairReduction = "mean"
    normalise: bool = True

    def __post_init__(self) -> None:
        check_weight("triplet", self.weight)
        check_pair_reduction("triplet", self.reduction)
        if self.mining not in get_args(Mining):
            raise ConfigError(f"triplet.mining must be one of {', '.join(get_args(Mining))}, got {self.mining!r}")
        if self.margin is not None:
            check_distance("triplet.margin", self.margin, normalise=self.normalise, squared=self.squared)


class TripletTerm(PairTerm):
    """Brings anchors nearer to samples of their class than to others."""

    name = "triplet"

    def __init__(self, config: TripletConfig) -> None:
        super().__init__(config.weight, config.reduction, config.normalise)
        self._config = config

    def costs(self, pairs: Pairs) -> dict[str, Costs]:
        """See `PairTerm.costs`."""
        config = self._config
        return {ACTIVE_TRIPLETS: triplet_loss(pairs, config.mining, margin=config.margin, squared=config.squared)}
