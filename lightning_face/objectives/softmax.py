"""The classifier's term."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from lightning_face.errors import ConfigError
from lightning_face.losses import Scoring, softmax_loss
from lightning_face.objectives.batch import MicroBatch, Reduction, check_reduction
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.tables.classifier import Classifier
from lightning_face.tables.placement import Placement


@dataclass(frozen=True)
class SoftmaxConfig:
    """Plain softmax over a linear classifier, without bias (Wen et al., ECCV 2016, equation 1).

    Args:
        weight: factor of the term.
        reduction: over the global batch.
        placement: of the classifier's rows: all on every rank, or shared out over the ranks; auto decides by size.
        sample_rate: share of the classes, in (0, 1], that a step sees as negatives, besides the classes of the batch;
            below 1 the classifier is sharded (Partial FC, An et al., CVPR 2022).
        filter_above: a negative whose value, the inner product, is above it is ignored for that sample, against faces
            that are labelled as two persons; null ignores none.
        rows_per_class: of the classifier; a class's value is the largest of its rows' inner products (sub-centers, Deng
            et al., ECCV 2020).
        init_std: standard deviation of the classifier's initial rows.
        optimizer: moves the classifier's rows, at the backbone's learning rate.
    """

    weight: float = 1.0
    reduction: Reduction = "mean"
    placement: Placement = "auto"
    sample_rate: float = 1.0
    filter_above: float | None = None
    rows_per_class: int = 1
    init_std: float = 0.01
    optimizer: RowOptimizerConfig = field(default_factory=RowOptimizerConfig)

    def __post_init__(self) -> None:
        check_reduction("softmax", self.reduction)
        if not self.weight > 0:  # written so that nan is refused too
            raise ConfigError(f"softmax.weight must be above 0, got {self.weight}; `softmax: null` switches it off")
        if not self.init_std >= 0:
            raise ConfigError(f"softmax.init_std must not be negative, got {self.init_std}")
        if not 0 < self.sample_rate <= 1:
            raise ConfigError(f"softmax.sample_rate must be in (0, 1], got {self.sample_rate}; 1 sees every class")
        if self.filter_above is not None and not math.isfinite(self.filter_above):
            raise ConfigError(f"softmax.filter_above must be a finite number or null, got {self.filter_above}")
        if self.rows_per_class < 1:
            raise ConfigError(f"softmax.rows_per_class must be at least 1, got {self.rows_per_class}")
        if self.sample_rate < 1 and self.placement == "replicated":
            raise ConfigError(
                f"softmax.sample_rate below 1 needs a sharded classifier, got {self.sample_rate} with placement"
                " replicated: set softmax.placement to sharded or auto"
            )


class SoftmaxTerm:
    """Softmax cross-entropy against the classifier."""

    name = "softmax"

    def __init__(self, config: SoftmaxConfig, classifier: Classifier) -> None:
        self.weight = config.weight
        self._reduction = config.reduction
        self._classifier = classifier
        self._scoring = Scoring(filter_above=config.filter_above)

    def part(self, batch: MicroBatch) -> Tensor:
        """See `Term.part`; each rank answers for its own samples."""
        return softmax_loss(*self._classifier.scores(batch, self._scoring)) * batch.sample_factor(self._reduction)
