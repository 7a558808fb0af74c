"""What the centers of a batch's classes need to move."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Shapes: U distinct classes of a global batch, D embedding dimension.


@dataclass(frozen=True)
class ClassSums:
    """What the centers of a global batch's classes need to move; the same on every rank.

    Args:
        classes_U: int64, sorted, distinct.
        counts_U: int64, samples of each class in the global batch.
        sums_UD: float32, sums of their features.
    """

    classes_U: Tensor
    counts_U: Tensor
    sums_UD: Tensor

    def __getitem__(self, which_U: Tensor | slice) -> "ClassSums":
        """Those of some of the classes."""
        return ClassSums(self.classes_U[which_U], self.counts_U[which_U], self.sums_UD[which_U])


def added_up(several: list[ClassSums]) -> ClassSums:
    """The sums of several batches as those of one."""
    if len(several) == 1:
        return several[0]
    every = torch.cat([sums.classes_U for sums in several])
    classes_U, slots = torch.unique(every, sorted=True, return_inverse=True)
    counts_U = torch.zeros_like(classes_U)
    sums_UD = several[0].sums_UD.new_zeros((len(classes_U), several[0].sums_UD.shape[1]))
    # One after the other: a class occurs once in each, so that the order of additions, and the bits, are fixed.
    for sums, places in zip(several, slots.split([len(sums.classes_U) for sums in several]), strict=True):
        counts_U[places] += sums.counts_U
        sums_UD[places] += sums.sums_UD
    return ClassSums(classes_U, counts_U, sums_UD)
