"""The batch that a step sees: this rank's samples, and everyone's."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lightning_face.directions import unit_vectors
from lightning_face.distributed.collectives import all_gather_rows, gather_rows
from lightning_face.distributed.world import rank

# Shapes: B samples of this rank, G of all ranks, D embedding dimension.


@dataclass(frozen=True)
class GlobalBatch:
    """One micro-batch; every rank has equally many samples.

    What is gathered is gathered once, when it is first asked for; ranks ask in the same order.

    Args:
        features_BD: float32; their gradient is already scaled for the engine's average over ranks.
        labels_B: int64.
    """

    features_BD: Tensor
    labels_B: Tensor

    @property
    def own(self) -> slice:
        """Where this rank's samples stand among those of all ranks."""
        return slice(rank() * len(self.labels_B), (rank() + 1) * len(self.labels_B))

    @cached_property
    def unit(self) -> "GlobalBatch":
        """The same samples with features of length one; what is gathered for one of the two serves both."""
        return _UnitBatch(unit_vectors(self.features_BD), self.labels_B, self)

    @property
    def features_GD(self) -> Tensor:
        """Features of all ranks, in rank order; their gradients return by one reduce-scatter."""
        return self._gathered[0]

    @cached_property
    def labels_G(self) -> Tensor:
        """Labels of all ranks, in rank order: those that came with the features, or alone where nobody needs these."""
        return self._gathered[1] if "_gathered" in vars(self) else all_gather_rows(self.labels_B)

    @cached_property
    def _gathered(self) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():  # whoever asks first
            return gather_rows(self.features_BD, self.labels_B)


@dataclass(frozen=True)
class _UnitBatch(GlobalBatch):
    """See `GlobalBatch.unit`; `raw` is the batch as it came."""

    raw: GlobalBatch

    @cached_property
    def features_GD(self) -> Tensor:
        with torch.enable_grad():
            return unit_vectors(self.raw.features_GD)

    @property
    def labels_G(self) -> Tensor:
        return self.raw.labels_G
