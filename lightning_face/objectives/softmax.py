"""The classifier's term."""

from dataclasses import dataclass, field

from torch import Tensor

from lightning_face.errors import ConfigError
from lightning_face.losses import softmax_loss
from lightning_face.objectives.batch import MicroBatch, Reduction, check_reduction
from lightning_face.optim.rows import RowOptimizerConfig
from lightning_face.tables.classifier import ReplicatedClassifier


@dataclass(frozen=True)
class SoftmaxConfig:
    """Plain softmax over a linear classifier, without bias (Wen et al., ECCV 2016, equation 1).

    Args:
        weight: factor of the term.
        reduction: over the global batch.
        init_std: standard deviation of the classifier's initial rows.
        optimizer: moves the classifier's rows, at the backbone's learning rate.
    """

    weight: float = 1.0
    reduction: Reduction = "mean"
    init_std: float = 0.01
    optimizer: RowOptimizerConfig = field(default_factory=RowOptimizerConfig)

    def __post_init__(self) -> None:
        check_reduction("softmax", self.reduction)
        if not self.weight > 0:  # written so that nan is refused too
            raise ConfigError(f"softmax.weight must be above 0, got {self.weight}; `softmax: null` switches it off")
        if not self.init_std >= 0:
            raise ConfigError(f"softmax.init_std must not be negative, got {self.init_std}")


class SoftmaxTerm:
    """Softmax cross-entropy against the replicated classifier."""

    name = "softmax"

    def __init__(self, config: SoftmaxConfig, classifier: ReplicatedClassifier) -> None:
        self.weight = config.weight
        self._reduction = config.reduction
        self._classifier = classifier

    def part(self, batch: MicroBatch) -> Tensor:
        """See `Term.part`; each rank sees its own samples."""
        loss = softmax_loss(batch.features_BD, batch.labels_B, self._classifier.rows_CD)
        return loss * batch.sample_factor(self._reduction)
