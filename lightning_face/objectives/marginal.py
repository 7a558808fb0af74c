"""The marginal term."""

from dataclasses import dataclass

from lightning_face.errors import ConfigError
from lightning_face.losses import Costs, marginal_loss
from lightning_face.objectives.batch import MicroBatch
from lightning_face.objectives.pairs import PairReduction, PairTerm, check_distance, check_pair_reduction, check_weight

ACTIVE_PAIRS = "marginal_active"
"""A fact that is logged beside the loss: share of the pairs that cost something."""


@dataclass(frozen=True)
class MarginalConfig:
    """Marginal loss (Deng et al., CVPR workshops 2017); form and constants are not verified against the paper.

    Args:
        weight: the paper's lambda.
        threshold: the paper's theta, a squared distance.
        margin: the paper's xi: how far from the threshold a squared distance must be to cost nothing.
        reduction: `mean` over ordered pairs (the paper), `sum`, or `mean_nonzero` over pairs that cost something.
        normalise: compare unit features, as the paper does.
    """

    weight: float = 1.0
    threshold: float = 1.2
    margin: float = 0.3
    reduction: PairReduction = "mean"
    normalise: bool = True

    def __post_init__(self) -> None:
        check_weight("marginal", self.weight)
        check_pair_reduction("marginal", self.reduction)
        if not 0 <= self.margin <= self.threshold:
            raise ConfigError(
                f"marginal.margin must be in [0, marginal.threshold], got {self.margin} and {self.threshold}: equal"
                " faces must cost nothing"
            )
        check_distance(
            "marginal.threshold + marginal.margin",
            self.threshold + self.margin,
            normalise=self.normalise,
            squared=True,
        )


class MarginalTerm(PairTerm):
    """Tells all pairs apart by one threshold."""

    name = "marginal"

    def __init__(self, config: MarginalConfig) -> None:
        super().__init__(config.weight, config.reduction, config.normalise)
        self._threshold, self._margin = config.threshold, config.margin

    def costs(self, batch: MicroBatch) -> dict[str, Costs]:
        """See `PairTerm.costs`."""
        return {ACTIVE_PAIRS: marginal_loss(self.pairs(batch), self._threshold, self._margin)}
