"""The table of classifier weights, each rank with the rows of its own classes."""

from collections.abc import Iterator
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.distributed.collectives import all_reduce_max_, all_reduce_sum_
from lightning_face.losses import Scores, Scoring
from lightning_face.losses.at_once import rows_at_once
from lightning_face.losses.chunked import Chunk, Negatives, Scored, row_gradient
from lightning_face.optim.rows import Part
from lightning_face.tables.block import held_places, own_classes
from lightning_face.tables.classifier import Classifier

# Shapes: G global batch, D embedding dimension, C classes, H of them held by this rank.


class ShardedClassifier(Classifier):
    """This rank holds the rows of its own classes and their optimizer.

    Per step the ranks exchange a few numbers for each sample; no row moves. Neither logits nor a gradient of the whole
    table are ever stored: `step` computes each chunk's gradient, applies it and drops it.

    Args:
        num_classes: C.
        dim: D.
        options: see `Classifier`.
    """

    def __init__(self, num_classes: int, dim: int, **options: Any) -> None:
        super().__init__(own_classes(num_classes), dim, **options)
        self._pending: list[Scored] = []

    def scores(self, batch: GlobalBatch, scoring: Scoring) -> Scores:
        """See `Classifier.scores`.

        Once the gradients of its results are known, the batch is remembered for `step`.
        """
        constant = scoring.with_constant_bias()
        scores = _Score.apply(scoring.prepared(batch.features_GD), scoring.bias, batch.labels_G, self, constant)
        return Scores(*(number_G[batch.own] for number_G in scores))

    @torch.no_grad()
    def own_values(self, batch: GlobalBatch, scoring: Scoring) -> Tensor:
        """See `Classifier.own_values`."""
        features_GD = scoring.prepared(batch.features_GD)
        return all_reduce_sum_((features_GD * self.own_rows(features_GD, batch.labels_G, scoring)).sum(1))

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """See `Classifier.step`."""
        if self._pending:
            self._optimizer.step(self.rows, self._gradients(), learning_rate)
            self.forget()

    def forget(self) -> None:
        """See `Classifier.forget`."""
        self._pending.clear()

    def own_rows(self, features_GD: Tensor, labels_G: Tensor, scoring: Scoring) -> Tensor:
        """The row (G, D) that decides each sample's value with its own class, zeros where another rank owns it."""
        own, places = held_places(self.held, labels_G)
        rows_GD = torch.zeros_like(features_GD)
        rows_GD[own] = scoring.best_rows(features_GD[own], self.rows[places])
        return rows_GD

    def chunk_size(self, num_samples: int) -> int:
        """Classes whose logits for a batch are computed at once, one for each row."""
        return max(1, rows_at_once(num_samples, self.rows.shape[-1], self.rows.device) // self.rows_per_class)

    def chunks(self, labels_G: Tensor) -> Iterator[tuple[Part, Chunk]]:
        """The rows that a batch is scored against, in parts, each with as many as the logits of the batch allow."""
        size = self.chunk_size(len(labels_G))
        for start in range(0, len(self.held), size):
            part = slice(start, start + size)
            yield part, Chunk(self.rows[part], labels_G - (self.held.start + start))

    def remember(self, scored: Scored) -> None:
        """Take a batch into account in the next `step`."""
        self._pending.append(scored)

    def _gradients(self) -> Iterator[tuple[Part, Tensor]]:
        """The gradient of every part of the own rows, added up over the remembered batches."""
        every_chunk = [self.chunks(scored.labels_G) for scored in self._pending]
        for chunks in zip(*every_chunk, strict=True):
            gradients = (row_gradient(chunk, scored) for (_, chunk), scored in zip(chunks, self._pending, strict=True))
            yield chunks[0][0], reduce(Tensor.add_, gradients)


class _Score(torch.autograd.Function):
    """The scores of a global batch, the same on every rank; each rank's gradient flows through its own rows."""

    @staticmethod
    def forward(
        ctx: Any,
        features_GD: Tensor,
        bias: Tensor | None,
        labels_G: Tensor,
        table: ShardedClassifier,
        scoring: Scoring,
    ) -> tuple[Tensor, Tensor, Tensor]:
        own_rows_GD = table.own_rows(features_GD, labels_G, scoring)
        targets_G = all_reduce_sum_((features_GD * own_rows_GD).sum(1))
        negatives = Negatives(features_GD, targets_G, scoring)
        for _, chunk in table.chunks(labels_G):
            negatives.add(chunk)
        negatives_G = negatives.over_ranks(all_reduce_max_, all_reduce_sum_)
        # Of what this function returns only copies without history may be kept, or nothing would ever be freed.
        known = (tensor.detach() for tensor in (targets_G, negatives_G))
        ctx.table, ctx.scored = table, partial(Scored, features_GD.detach(), labels_G, scoring, *known)
        ctx.pulls = own_rows_GD, negatives.pull_GD, negatives.target_pull_G, negatives.bias_pull_G
        ctx.mark_non_differentiable(negatives.largest_G)
        return targets_G, negatives_G, negatives.largest_G

    @staticmethod
    def backward(ctx: Any, *gradients_G: Tensor) -> tuple[Tensor | None, ...]:
        own_rows_GD, pull_GD, target_pull_G, bias_pull_G = ctx.pulls
        sums = all_reduce_sum_(torch.stack([*gradients_G[:2], target_pull_G]))
        target_gradient_G, negatives_gradient_G, target_pull_G = sums
        # A negative's logit may depend on the value of the own class: then so does their number.
        target_gradient_G = target_gradient_G + negatives_gradient_G * target_pull_G
        ctx.table.remember(ctx.scored(target_gradient_G, negatives_gradient_G))
        gradient_GD = target_gradient_G.unsqueeze(1) * own_rows_GD + negatives_gradient_G.unsqueeze(1) * pull_GD
        bias_gradient = torch.dot(negatives_gradient_G, bias_pull_G) if ctx.needs_input_grad[1] else None
        ctx.scored = ctx.pulls = None
        return gradient_GD, bias_gradient, None, None, None
