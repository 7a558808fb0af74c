"""The classifier's term."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_face.distributed.collectives import all_reduce_sum_
from lightning_face.errors import ConfigError
from lightning_face.losses.heads import Head, Softmax
from lightning_face.objectives.batch import MicroBatch, Reduction, check_reduction
from lightning_face.objectives.samples import BatchSamples
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.optim.rows import RowOptimizer
from lightning_face.tables.classifier import Classifier
from lightning_face.tables.placement import Placement

ACCURACY = "accuracy"
"""The figure that is 1 for samples whose own class has the largest value of all, margins aside, and else 0."""


@dataclass(frozen=True)
class SoftmaxConfig:
    """A loss over a classifier without bias: plain softmax, or what a head makes of its values.

    Args:
        head: what becomes of a sample's values with all classes: null for softmax over inner products (Wen et al., ECCV
            2016, equation 1), or one of CosFace, ArcFace, AdaFace, MagFace, CurricularFace, ElasticCosFace,
            ElasticArcFace, SphereFace, UniFace, SphereFace2; `--model.objective.softmax.head.help=ArcFace` shows its
            options.
        weight: factor of the term.
        reduction: over the global batch.
        placement: of the classifier's rows: all on every rank, or shared out over the ranks; auto decides by size.
        sample_rate: share of the classes, in (0, 1], that a step sees as negatives, besides the classes of the batch;
            below 1 the classifier is sharded (Partial FC, An et al., CVPR 2022).
        filter_above: a negative whose value, the inner product or with most heads the cosine, is above it is ignored
            for that sample, against faces that are labelled as two persons; null ignores none.
        rows_per_class: of the classifier; a class's value is the largest of its rows' (sub-centers, Deng et al., ECCV
            2020).
        init_std: standard deviation of the classifier's initial rows.
        optimizer: moves the classifier's rows, and what a head learns, at the backbone's learning rate.
    """

    head: Head | None = None
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
        if not 0 < self.weight < math.inf:  # written so that nan is refused too
            raise ConfigError(f"softmax.weight must be above 0, got {self.weight}; `softmax: null` switches it off")
        if not 0 <= self.init_std < math.inf:
            raise ConfigError(f"softmax.init_std must not be negative, nor infinite, got {self.init_std}")
        if self.head is not None and self.head.unit_rows and self.init_std == 0:
            raise ConfigError("softmax.init_std must be above 0 with softmax.head: rows of zeros have no direction")
        if not 0 < self.sample_rate <= 1:
            raise ConfigError(f"softmax.sample_rate must be in (0, 1], got {self.sample_rate}; 1 sees every class")
        if self.filter_above is not None and not math.isfinite(self.filter_above):
            raise ConfigError(f"softmax.filter_above must be a finite number or null, got {self.filter_above}")
        self._check_filter_of_cosines()
        if self.rows_per_class < 1:
            raise ConfigError(f"softmax.rows_per_class must be at least 1, got {self.rows_per_class}")
        if self.sample_rate < 1 and self.placement == "replicated":
            raise ConfigError(
                f"softmax.sample_rate below 1 needs a sharded classifier, got {self.sample_rate} with placement"
                " replicated: set softmax.placement to sharded or auto"
            )

    def _check_filter_of_cosines(self) -> None:
        are_cosines = self.head is not None and self.head.unit_features and self.head.unit_rows
        if are_cosines and self.filter_above is not None and not -1 < self.filter_above < 1:
            raise ConfigError(
                f"softmax.filter_above must be in (-1, 1) with softmax.head, got {self.filter_above}: values are"
                " cosines, and it would ignore none of the negatives, or all"
            )


class SoftmaxTerm:
    """The head's loss of the classifier's values.

    Args:
        config: of the term.
        classifier: the table.
        num_classes: C.
        class_counts_C: images of each class, int64; needed if the head asks.
        device: of the head's state.
    """

    name = "softmax"

    def __init__(
        self,
        config: SoftmaxConfig,
        classifier: Classifier,
        *,
        num_classes: int,
        class_counts_C: Tensor | None,
        device: torch.device,
    ) -> None:
        self.weight = config.weight
        self.unit_rows = (config.head or Softmax()).unit_rows
        self._reduction = config.reduction
        self._filter_above = config.filter_above
        self._classifier = classifier
        self._head = config.head or Softmax()
        state = self._head.initial_state(num_classes * config.sample_rate)
        self._head_state = {name: value.to(device) for name, value in state.items()}
        self._rarity_C: Tensor | None = None
        if self._head.needs_class_counts:
            assert class_counts_C is not None, "the head asks for the number of images of each class"
            self._rarity_C = _rarity(class_counts_C).to(device)
        self._bias_optimizer: RowOptimizer | None = None
        if "bias" in self._head_state:
            bias = self._head_state["bias"].requires_grad_()
            self._bias_optimizer = RowOptimizer(config.optimizer, bias.detach().view(1))

    def part(self, batch: MicroBatch) -> Tensor:
        """See `Term.part`; each rank answers for its own samples."""
        samples = BatchSamples(batch, self._head, self._classifier, self._rarity_C)
        with torch.no_grad():
            self._head.observe(self._head_state, samples)
        scoring = self._head.scoring(self._head_state, self._filter_above)
        scores = self._classifier.scores(batch, scoring)
        losses_B = self._head.losses(scores.targets_B, scores.negatives_B, samples, self._head_state)
        batch.figures[self.name] = batch.labels_B, losses_B.detach()
        with torch.no_grad():
            batch.figures[ACCURACY] = batch.labels_B, scoring.is_first(scores)
        return losses_B.sum() * batch.sample_factor(self._reduction)

    def facts(self) -> dict[str, Tensor]:
        """What runs in the head, by name, as the last micro-batch was scored; the same on every rank."""
        return {name: value.detach().clone() for name, value in self._head.facts(self._head_state).items()}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move what the head learns, by the sum of the ranks' gradients, and what counts steps; every rank calls."""
        if self._bias_optimizer is not None:
            bias = self._head_state["bias"]
            if bias.grad is not None:
                gradient = all_reduce_sum_(bias.grad).view(1)
                self._bias_optimizer.step(bias.detach().view(1), [(slice(None), gradient)], learning_rate)
        self.forget()
        self._head.advance(self._head_state)

    def forget(self) -> None:
        """Drop what the batches since the last step would have the head learn."""
        for value in self._head_state.values():
            value.grad = None

    def state(self) -> dict[str, Tensor]:
        """What the head carries from step to step, the same on every rank; loading copies into these tensors."""
        optimizer = self._bias_optimizer.state() if self._bias_optimizer is not None else {}
        named = self._head_state | {f"bias.{name}": value.view(()) for name, value in optimizer.items()}
        return {f"softmax.head.{name}": value.detach() for name, value in named.items()}


def _rarity(class_counts_C: Tensor) -> Tensor:
    """Images of the rarest class over those of each, float32; classes without images are not asked for."""
    counts_C = class_counts_C.clamp_min(1).double()
    return (counts_C[class_counts_C > 0].min() / counts_C).float()
