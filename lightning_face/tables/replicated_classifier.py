"""The table of classifier weights, all rows on every rank."""

import torch
from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.distributed.collectives import all_reduce_sum_
from lightning_face.losses import Scoring
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.optim.rows import RowOptimizer
from lightning_face.tables.initial import initial_rows


class ReplicatedClassifier:
    """Classifier weights (C, D) float32, moved by an optimizer of their own with the backbone's learning rate.

    The gradient is dense: every step adds up C x D numbers over the ranks.

    Args:
        num_classes: C.
        dim: D.
        optimizer: of the rows.
        init_std: standard deviation of the initial rows.
        seed: of the initial rows.
        device: of the rows.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        optimizer: RowOptimizerConfig,
        init_std: float,
        seed: int,
        device: torch.device,
    ) -> None:
        rows = initial_rows("classes", 0, num_classes, dim, std=init_std, seed=seed).to(device)
        self.rows_CD = rows.requires_grad_()
        self._optimizer = RowOptimizer(optimizer, rows)

    def scores(self, batch: GlobalBatch, scoring: Scoring) -> tuple[Tensor, Tensor]:
        """Score this rank's samples against all classes, see `Scoring.scores`."""
        return scoring.scores(batch.features_BD, batch.labels_B, self.rows_CD)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Add the ranks' gradients up and move the rows; forgets the gradient."""
        if self.rows_CD.grad is None:
            return
        self._optimizer.step(self.rows_CD, [(slice(None), all_reduce_sum_(self.rows_CD.grad))], learning_rate)
        self.rows_CD.grad = None

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint holds, by name; loading copies into these tensors."""
        state = {f"classifier.{name}": value for name, value in self._optimizer.state().items()}
        return {"classifier": self.rows_CD.detach(), **state}
