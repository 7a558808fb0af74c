"""The table of class centers, all rows on every rank."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_face.distributed.collectives import all_gather_rows, all_reduce_sum, all_reduce_sum_
from lightning_face.losses import class_sums, moved_centers
from lightning_face.tables.initial import initial_rows

# Shapes: B local batch, G global batch, U distinct classes of the global batch, C classes, D embedding dimension.


@dataclass(frozen=True)
class ClassSums:
    """What the centers of a global batch's classes need to move; the same on every rank.

    Args:
        classes_U: int64, sorted, distinct.
        counts_U: int64, samples of each class in the global batch.
        sums_UD: float32, sums of their features, without gradient.
    """

    classes_U: Tensor
    counts_U: Tensor
    sums_UD: Tensor


class ReplicatedCenters:
    """Class centers that move by Wen's rule, bit-identical on every rank.

    Bytes exchanged per step depend on batch and dimension alone: G labels, and U rows of class sums.

    Args:
        num_classes: C.
        dim: D.
        rate: Wen's alpha in [0, 1].
        init_std: standard deviation of the initial rows.
        seed: of the initial rows.
        device: of the rows.
    """

    def __init__(
        self, num_classes: int, dim: int, *, rate: float, init_std: float, seed: int, device: torch.device
    ) -> None:
        self.rows_CD = initial_rows("centers", 0, num_classes, dim, std=init_std, seed=seed).to(device)
        self.rate = rate
        self._pending: list[ClassSums] = []

    def of(self, labels_B: Tensor) -> Tensor:
        """Centers of the labels, (B, D)."""
        return self.rows_CD[labels_B]

    def observe(self, features_BD: Tensor, labels_B: Tensor, *, differentiable: bool) -> Tensor:
        """Add up the global batch's features by class and remember them for `step`.

        Args:
            differentiable: whether gradients are to flow from the result to the features of every rank.

        Returns:
            Where Wen's rule takes the centers of the batch's classes, (U, D), ordered by class.
        """
        features = features_BD if differentiable else features_BD.detach()
        classes_U, counts_U = torch.unique(all_gather_rows(labels_B), sorted=True, return_counts=True)
        slots_B = torch.searchsorted(classes_U, labels_B)
        local_sums = class_sums(features, slots_B, len(classes_U))
        sums_UD = all_reduce_sum(local_sums) if differentiable else all_reduce_sum_(local_sums)
        self._pending.append(ClassSums(classes_U, counts_U, sums_UD.detach()))
        return moved_centers(self.rows_CD[classes_U], sums_UD, counts_U, self.rate)

    @torch.no_grad()
    def step(self) -> Tensor:
        """Move the centers once for all batches observed since the last step (several under accumulation).

        Returns:
            The classes that moved, int64, sorted.
        """
        every = torch.cat([sums.classes_U for sums in self._pending])
        classes_U, slots = torch.unique(every, sorted=True, return_inverse=True)
        counts_U = torch.zeros_like(classes_U)
        sums_UD = self.rows_CD.new_zeros((len(classes_U), self.rows_CD.shape[1]))
        # One after the other: a class occurs once in each, so that the order of additions, and the bits, are fixed.
        for sums, places in zip(self._pending, slots.split([len(s.classes_U) for s in self._pending]), strict=True):
            counts_U[places] += sums.counts_U
            sums_UD[places] += sums.sums_UD
        self.rows_CD[classes_U] = moved_centers(self.rows_CD[classes_U], sums_UD, counts_U, self.rate)
        self._pending.clear()
        return classes_U

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint holds, by name; loading copies into these tensors."""
        return {"centers": self.rows_CD}
