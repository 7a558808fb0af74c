"""Classifier weights with all rows on every rank."""

from typing import Any

import torch
from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.distributed.collectives import all_gather_rows, all_reduce_sum_
from lightning_face.losses import Scores, Scoring
from lightning_face.tables.classifier import Classifier


class ReplicatedClassifier(Classifier):
    """All rows on every rank. The gradient is dense: every step adds up the whole table over the ranks.

    Args:
        num_classes: C.
        dim: D.
        options: see `Classifier`.
    """

    def __init__(self, num_classes: int, dim: int, **options: Any) -> None:
        super().__init__(range(num_classes), dim, **options)
        self.rows.requires_grad_()

    def scores(self, batch: GlobalBatch, scoring: Scoring) -> Scores:
        """See `Classifier.scores`."""
        return scoring.scores(batch.features_BD, batch.labels_B, self.rows)

    @torch.no_grad()
    def own_values(self, batch: GlobalBatch, scoring: Scoring) -> Tensor:
        """See `Classifier.own_values`."""
        features_BD = scoring.prepared(batch.features_BD)
        rows_BD = scoring.best_rows(features_BD, self.rows[batch.labels_B])
        return all_gather_rows((features_BD * rows_BD).sum(1))

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """See `Classifier.step`: add the ranks' gradients up; forgets the gradient."""
        if self.rows.grad is None:
            return
        self._optimizer.step(self.rows, [(slice(None), all_reduce_sum_(self.rows.grad))], learning_rate)
        self.forget()

    def forget(self) -> None:
        """See `Classifier.forget`."""
        self.rows.grad = None
