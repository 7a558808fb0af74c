"""The objective: all terms of the loss together, with the class tables that they share."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_face.distributed.collectives import scale_gradient
from lightning_face.distributed.world import world_size
from lightning_face.objectives.batch import MicroBatch
from lightning_face.objectives.center import CenterTerm
from lightning_face.objectives.config import ObjectiveConfig, table_plans
from lightning_face.objectives.contrastive import ContrastiveTerm
from lightning_face.objectives.finite import FiniteCheck
from lightning_face.objectives.long_tail import MIDDLE, buckets_of
from lightning_face.objectives.loss_value import Facts, LossValue, loss_over_ranks
from lightning_face.objectives.marginal import MarginalTerm
from lightning_face.objectives.minimum_margin import MinimumMarginTerm
from lightning_face.objectives.pairs import PairTerm
from lightning_face.objectives.range_loss import RangeTerm
from lightning_face.objectives.softmax import SoftmaxTerm
from lightning_face.objectives.triplet import TripletTerm
from lightning_face.tables.centers import Centers
from lightning_face.tables.classifier import Classifier
from lightning_face.tables.memory import check_memory
from lightning_face.tables.placement import make_centers, make_classifier
from lightning_face.tables.sharded_centers import ShardedCenters
from lightning_face.tables.sharded_classifier import ShardedClassifier

_PAIR_TERMS: dict[str, Callable[[Any], PairTerm | RangeTerm]] = {
    "contrastive": ContrastiveTerm,
    "triplet": TripletTerm,
    "marginal": MarginalTerm,
    "range": RangeTerm,
}
"""By option; the names are `PAIR_LOSSES`."""

DISPLACEMENT = "displacement"
"""The figure of how far Wen's rule moves the centers of the step's classes, Euclidean."""


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
                mml = self.mml if self.mml is not None and self.mml.is_due else None
                through = mml is not None and mml.differentiable
                sums = self.centers.observe(self.center.seen(batch), differentiable=through)
                if mml is not None:
                    part = mml.part(sums.classes_U, self.centers.moved(sums), facts)
                    parts[mml.name] = (mml.weight, part)
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
