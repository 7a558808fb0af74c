"""The table of classifier weights, whatever its placement."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.losses import Scores, Scoring
from lightning_face.optim.row_config import RowOptimizerConfig
from lightning_face.optim.rows import RowOptimizer
from lightning_face.tables.initial import initial_rows

# Shapes: B samples of this rank, G of all ranks, C classes, H of them held by this rank, K rows per class, D embedding
# dimension.


class Classifier(ABC):
    """Classifier weights float32, moved by an optimizer of their own with the backbone's learning rate.

    The held `rows` are (H, D), or (H, K, D) for K > 1.

    Args:
        held: classes whose rows this rank holds.
        dim: D.
        rows_per_class: K, at least 1; see `Scoring`.
        optimizer: of the rows.
        init_std: standard deviation of the initial rows.
        seed: of the initial rows.
        device: of the rows.
    """

    def __init__(
        self,
        held: range,
        dim: int,
        *,
        rows_per_class: int = 1,
        optimizer: RowOptimizerConfig,
        init_std: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.held = held
        self.rows_per_class = rows_per_class
        width = rows_per_class * dim  # with one row the same numbers as ever
        rows = initial_rows("classes", held.start, len(held), width, std=init_std, seed=seed, device=device)
        self.rows = rows if rows_per_class == 1 else rows.unflatten(1, (rows_per_class, dim))
        self._optimizer = RowOptimizer(optimizer, self.rows)

    @abstractmethod
    def scores(self, batch: GlobalBatch, scoring: Scoring) -> Scores:
        """Score this rank's samples against all classes, see `Scoring.scores`; every rank calls."""

    @abstractmethod
    def own_values(self, batch: GlobalBatch, scoring: Scoring) -> Tensor:
        """Values (G,) of all samples' own classes, without gradient, before anything is scored; every rank calls."""

    @abstractmethod
    def step(self, learning_rate: float) -> None:
        """Move the rows once for all batches since the last step (several under accumulation)."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what the batches since the last step would move."""

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint holds, by name; loading copies into these tensors."""
        state = {f"classifier.{name}": value for name, value in self._optimizer.state().items()}
        return {"classifier": self.rows.detach(), **state}
