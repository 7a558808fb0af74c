"""Which terms make up the loss."""

from dataclasses import dataclass, field, fields
from typing import Any

from lightning_face.errors import ConfigError
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.contrastive import ContrastiveConfig
from lightning_face.objectives.marginal import MarginalConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.range_loss import RangeConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.objectives.triplet import TripletConfig
from lightning_face.tables.centers import MOVED_AT_BYTES
from lightning_face.tables.memory import TablePlan, bytes_per_class
from lightning_face.tables.placement import is_sharded

PAIR_LOSSES = ("contrastive", "triplet", "marginal", "range")
"""Terms that compare the samples of a micro-batch of all ranks, and need no class table."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """The terms of the loss; `null` switches one off.

    Args:
        softmax: the classifier.
        center: center loss and its table of centers.
        mml: Minimum Margin Loss; needs the centers of `center` (whose weight may be 0).
        contrastive: contrastive loss. This and the following compare images of a person: `data.images_per_identity`
            must be set, or `data.mine_every_n_steps`.
        triplet: triplet loss, FaceNet's or Hermans's.
        marginal: marginal loss.
        range: range loss.
    """

    softmax: SoftmaxConfig | None = field(default_factory=SoftmaxConfig)
    center: CenterConfig | None = field(default_factory=CenterConfig)
    mml: MinimumMarginConfig | None = None
    contrastive: ContrastiveConfig | None = None
    triplet: TripletConfig | None = None
    marginal: MarginalConfig | None = None
    range: RangeConfig | None = None

    def __post_init__(self) -> None:
        if self.mml is not None and self.center is None:
            raise ConfigError("objective.mml needs the table of centers: set objective.center (its weight may be 0)")
        if self.mml is not None and self.center is not None and self.center.normalise and self.mml.margin > 4:
            raise ConfigError(
                f"mml.margin must be at most 4 with center.normalise, got {self.mml.margin}: it is a squared distance,"
                " and those of unit features are at most 4"
            )
        if not self._trains:
            raise ConfigError(
                "objective has no term left that trains the network: set objective.softmax, a pair loss, a"
                " center.weight above 0, or mml in mode A with a weight and a center.rate above 0"
            )

    @property
    def terms(self) -> dict[str, Any]:
        """The configs of all terms that are set, by name."""
        terms = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: config for name, config in terms.items() if config is not None}

    @property
    def _trains(self) -> bool:
        by_centers = self.center is not None and self.center.weight > 0
        # Mode A goes through Wen's rule, which at a rate of 0 moves nothing.
        by_margin = (
            self.mml is not None and self.mml.moves_features and self.center is not None and self.center.rate > 0
        )
        return by_centers or by_margin or bool(self.terms.keys() - {"center", "mml"})

    @property
    def pair_losses(self) -> list[str]:
        """The terms among them that compare samples with one another."""
        return [name for name in self.terms if name in PAIR_LOSSES]

    @property
    def mines_offline(self) -> bool:
        """Whether batches are to be made up of triplets that were mined beforehand."""
        return self.triplet is not None and self.triplet.is_offline


def table_plans(config: ObjectiveConfig, num_classes: int, dim: int) -> list[TablePlan]:
    """What grows with the number of classes: the tables, and the gradients that are kept whole."""
    plans: list[TablePlan] = []
    if config.softmax is not None:
        width = config.softmax.rows_per_class * dim
        sharded = is_sharded(config.softmax.placement, num_classes, width, config.softmax.sample_rate)
        size = bytes_per_class(width, config.softmax.optimizer)
        gradient = bytes_per_class(width)  # whole, where a sharded table's is applied chunk by chunk
        plans.append(TablePlan("classifier", "objective.softmax.placement", sharded, size, gradient))
    if config.center is not None:
        sharded = is_sharded(config.center.placement, num_classes, dim)
        size = bytes_per_class(dim) + MOVED_AT_BYTES
        plans.append(TablePlan("centers", "objective.center.placement", sharded, size))
        if config.mml is not None and config.mml.moves_all_centers:
            size = bytes_per_class(dim)
            plans.append(TablePlan("gradient of mml", "objective.center.placement", sharded, size, is_saved=False))
    return plans
