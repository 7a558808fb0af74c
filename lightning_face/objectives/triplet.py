"""The triplet term."""

from dataclasses import dataclass
from typing import Literal, get_args

from lightning_face.errors import ConfigError
from lightning_face.losses import Costs, Mining, given_triplet_loss, triplet_loss
from lightning_face.objectives.batch import MicroBatch
from lightning_face.objectives.pairs import PairReduction, PairTerm, check_distance, check_pair_reduction, check_weight

Offline = Literal["offline"]
"""Triplets stand in the batch already: three neighbouring samples are anchor, positive and negative."""

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
            all triplets. `offline` (FaceNet): those that `data.mine_every_n_steps` has found, as they stand.
        margin: by how much a negative must be farther than a positive; null takes the soft margin (Hermans).
        squared: compare squared distances (FaceNet) or distances (Hermans).
        reduction: `mean` over the chosen triplets, `mean_nonzero` over those that cost something (for `batch_all`), or
            `sum` (FaceNet).
        normalise: compare unit features (FaceNet) or raw ones (Hermans).
    """

    weight: float = 1.0
    mining: Mining | Offline = "semi_hard"
    margin: float | None = 0.2
    squared: bool = True
    reduction: PairReduction = "mean"
    normalise: bool = True

    def __post_init__(self) -> None:
        check_weight("triplet", self.weight)
        check_pair_reduction("triplet", self.reduction)
        known = (*get_args(Mining), *get_args(Offline))
        if self.mining not in known:
            raise ConfigError(f"triplet.mining must be one of {', '.join(known)}, got {self.mining!r}")
        if self.margin is not None:
            check_distance("triplet.margin", self.margin, normalise=self.normalise, squared=self.squared)

    @property
    def is_offline(self) -> bool:
        """Whether triplets are mined beforehand, and batches made up of them."""
        return self.mining == "offline"


class TripletTerm(PairTerm):
    """Brings anchors nearer to samples of their class than to others."""

    name = "triplet"

    def __init__(self, config: TripletConfig) -> None:
        super().__init__(config.weight, config.reduction, config.normalise)
        self._config = config

    def costs(self, batch: MicroBatch) -> dict[str, Costs]:
        """See `PairTerm.costs`."""
        config = self._config
        if config.mining == "offline":
            features_BD = batch.unit.features_BD if config.normalise else batch.features_BD
            costs = given_triplet_loss(features_BD.unflatten(0, (-1, 3)), margin=config.margin, squared=config.squared)
        else:
            costs = triplet_loss(self.pairs(batch), config.mining, margin=config.margin, squared=config.squared)
        return {ACTIVE_TRIPLETS: costs}
