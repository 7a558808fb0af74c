"""Class centers with all rows on every rank."""

from typing import Any

from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.distributed.collectives import all_reduce_sum, all_reduce_sum_
from lightning_face.losses import class_sums
from lightning_face.tables.centers import Centers


class ReplicatedCenters(Centers):
    """All rows on every rank, bit-identical; ranks exchange the labels and the class sums of a batch.

    Args:
        num_classes: C.
        dim: D.
        options: see `Centers`.
    """

    def __init__(self, num_classes: int, dim: int, **options: Any) -> None:
        super().__init__(num_classes, range(num_classes), dim, **options)

    def samples(self, batch: GlobalBatch) -> tuple[Tensor, Tensor]:
        """See `Centers.samples`: each rank answers for its own samples."""
        return batch.features_BD, batch.labels_B

    def of_any(self, tensor_H: Tensor, classes_U: Tensor) -> Tensor:
        """See `Centers.of_any`; nothing is exchanged."""
        return tensor_H.index_select(0, classes_U)

    def over_held_(self, tensor: Tensor) -> Tensor:
        """See `Centers.over_held_`: each rank has all of it, with the same bits."""
        return tensor

    def _sums(self, batch: GlobalBatch, num_classes: int, slots_G: Tensor, differentiable: bool) -> Tensor:
        # Added up by one reduction: every rank must end with the same bits, and ranks may add in different orders.
        if differentiable:
            return all_reduce_sum(class_sums(batch.features_BD, slots_G[batch.own], num_classes))
        return all_reduce_sum_(class_sums(batch.features_BD.detach(), slots_G[batch.own], num_classes))
