"""The objective: all terms of the loss together, with the class tables that they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from lightning_face.distributed.collectives import scale_gradient
from lightning_face.distributed.world import world_size
from lightning_face.errors import ConfigError
from lightning_face.objectives.batch import MicroBatch
from lightning_face.objectives.center import CenterConfig, CenterTerm
from lightning_face.objectives.contrastive import ContrastiveConfig, ContrastiveTerm
from lightning_face.objectives.finite import FiniteCheck
from lightning_face.objectives.long_tail import MIDDLE, buckets_of
from lightning_face.objectives.loss_value import Facts, LossValue, loss_over_ranks
from lightning_face.objectives.marginal import MarginalConfig, MarginalTerm
from lightning_face.objectives.minimum_margin import MinimumMarginConfig, MinimumMarginTerm
from lightning_face.objectives.pairs import PairTerm
from lightning_face.objectives.range_loss import RangeConfig, RangeTerm
from lightning_face.objectives.softmax import SoftmaxConfig, SoftmaxTerm
from lightning_face.objectives.triplet import TripletConfig, TripletTerm
from lightning_face.tables.centers import MOVED_AT_BYTES, Centers
from lightning_face.tables.classifier import Classifier
from lightning_face.tables.memory import TablePlan, bytes_per_class, check_memory
from lightning_face.tables.placement import is_sharded, make_centers, make_classifier
from lightning_face.tables.sharded_centers import ShardedCenters
from lightning_face.tables.sharded_classifier import ShardedClassifier

_PAIR_TERMS: dict[str, Callable[[Any], PairTerm | RangeTerm]] = {
    "contrastive": ContrastiveTerm,
    "triplet": TripletTerm,
    "marginal": MarginalTerm,
    "range": RangeTerm,
}
"""Terms that compare the samples of a micro-batch of all ranks, and need no class table; by option."""

DISPLACEMENT = "displacement"
"""The figure of how far Wen's rule moves the centers of the step's classes, Euclidean."""


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
        return [name for name in self.terms if name in _PAIR_TERMS]

    @property
    def mines_offline(self) -> bool:
        """Whether batches are to be made up of triplets that were mined beforehand."""
        return self.triplet is not None and self.triplet.is_offline


class Objective:
    """Computes the loss and owns the class tables, outside of any data-parallel engine.

    Args:
        config: the terms.
        num_classes: C.
        dim: D of the embedding.
        seed: of the tables' initial rows.
        device: of the tables.
        class_counts_C: images of each class, int64; needed if a head asks. Without, they count as equally many.

    Attributes:
        buckets_C: of each class by its number of images, int8, see `buckets_of`.

    Raises:
        ConfigError: on every rank, if the tables do not fit into the memory of one.
    """

    def __init__(
        self,
        config: ObjectiveConfig,
        *,
        num_classes: int,
        dim: int,
        seed: int,
        device: torch.device,
        class_counts_C: Tensor | None = None,
    ) -> None:
        check_memory(table_plans(config, num_classes, dim), num_classes, device)
        self.num_classes = num_classes
        self.classifier: Classifier | None = None
        self.softmax: SoftmaxTerm | None = None
        self.centers: Centers | None = None
        self.center: CenterTerm | None = None
        self.mml: MinimumMarginTerm | None = None
        self.buckets_C = torch.full((num_classes,), MIDDLE, dtype=torch.int8, device=device)
        if class_counts_C is not None:
            self.buckets_C.copy_(buckets_of(class_counts_C))
        self._finite = FiniteCheck()
        self._sample_terms: list[SoftmaxTerm | CenterTerm] = []
        self._pair_terms = [_PAIR_TERMS[name](config.terms[name]) for name in config.pair_losses]
        shape: dict[str, Any] = {"num_classes": num_classes, "dim": dim, "seed": seed, "device": device}
        if config.softmax is not None:
            softmax = config.softmax
            self.classifier = make_classifier(
                softmax.placement,
                sample_rate=softmax.sample_rate,
                rows_per_class=softmax.rows_per_class,
                optimizer=softmax.optimizer,
                init_std=softmax.init_std,
                **shape,
            )
            self.softmax = SoftmaxTerm(
                softmax, self.classifier, num_classes=num_classes, class_counts_C=class_counts_C, device=device
            )
            self._sample_terms.append(self.softmax)
        if config.center is not None:
            center = config.center
            self.centers = make_centers(
                center.placement, rate=center.rate, init=center.init, init_std=center.init_std, **shape
            )
            self.center = CenterTerm(center, self.centers)
            self._sample_terms.append(self.center)
            if config.mml is not None:
                self.mml = MinimumMarginTerm(config.mml, self.centers)

    def __call__(
        self, features_BD: Tensor, labels_B: Tensor, *, accumulation: int = 1, noise_B: Tensor | None = None
    ) -> LossValue:
        """Loss of a micro-batch; every rank calls with equally many samples.

        Args:
            features_BD: any floating dtype; the arithmetic is float32, outside of autocast.
            labels_B: int64 in [0, C).
            accumulation: micro-batches per optimizer step.
            noise_B: a standard normal number of each sample, float32, for heads that draw margins.
        """
        with torch.autocast(features_BD.device.type, enabled=False):
            features = scale_gradient(features_BD.float(), world_size())
            if features.requires_grad:
                features.register_hook(self._finite.see_gradient)
            batch = MicroBatch(features, labels_B, accumulation, noise_B)
            parts = {term.name: (term.weight, term.part(batch)) for term in self._sample_terms}
            facts = Facts(self.softmax.facts() if self.softmax is not None else {})
            for term in self._pair_terms:
                part, pair_facts = term.part(batch)
                parts[term.name] = (term.weight, part)
                facts.everywhere.update(pair_facts)
            if self.centers is not None and self.center is not None:
                through = self.mml is not None and self.mml.differentiable
                sums = self.centers.observe(self.center.seen(batch), differentiable=through)
                if self.mml is not None and self.mml.is_due:
                    part = self.mml.part(sums.classes_U, self.centers.moved(sums), facts)
                    parts[self.mml.name] = (self.mml.weight, part)
                batch.figures[DISPLACEMENT] = self.centers.displacements()
            loss = loss_over_ranks(parts, facts, batch.figures, self.buckets_C)
            self._finite.see_loss({**loss.terms, "total": loss.total.detach()})
            return loss

    def what_is_not_finite(self, gradients: Sequence[Tensor]) -> str | None:
        """What of the step is not finite on some rank: a loss, or a gradient of features or of the network's weights.

        Args:
            gradients: of the weights, those that this rank holds.

        Returns:
            The same words on every rank, or None; every rank calls, once a step, before anything moves.
        """
        return self._finite.what_is_not(gradients)

    def forget(self) -> None:
        """Drop what the micro-batches since the last step would move: `step` is not to be called for them."""
        if self.classifier is not None and self.softmax is not None:
            self.classifier.forget()
            self.softmax.forget()
        if self.centers is not None:
            self.centers.forget()

    def step(self, learning_rate: float) -> None:
        """Move the tables once, after the engine has stepped, with the learning rate that it used."""
        if self.classifier is not None and self.softmax is not None:
            self.classifier.step(learning_rate)
            self.softmax.step(learning_rate)
        if self.centers is not None:
            is_due = self.mml is not None and self.mml.is_due  # of the step that ends here
            moved_U = self.centers.step()
            if self.mml is not None and is_due:
                self.mml.push_centers(moved_U)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that moves, by name, for checkpoints; loading copies into them."""
        held = {name: tensor for table in self._tables() for name, tensor in table.state().items()}
        return held | self.head_state()

    def head_state(self) -> dict[str, Tensor]:
        """What runs in the head, part of the state: single numbers, some of which move before the step does."""
        return self.softmax.state() if self.softmax is not None else {}

    def held(self) -> dict[str, range]:
        """Which rows of the whole this rank holds, of every tensor that is shared out over the ranks."""
        shared = [table for table in self._tables() if isinstance(table, ShardedClassifier | ShardedCenters)]
        return {name: table.held for table in shared for name, tensor in table.state().items() if tensor.ndim}

    def shapes(self) -> dict[str, list[int]]:
        """Shape of each tensor of the state over all ranks."""
        shapes = {name: list(tensor.shape) for name, tensor in self.state().items()}
        return shapes | {name: [self.num_classes, *shapes[name][1:]] for name in self.held()}

    def _tables(self) -> list[Classifier | Centers]:
        return [table for table in (self.classifier, self.centers) if table is not None]


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
