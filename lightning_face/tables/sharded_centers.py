"""Class centers with each row on one rank."""

from typing import Any

from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.distributed.collectives import all_reduce_sum_
from lightning_face.losses import class_sums
from lightning_face.tables.block import held_places, own_classes
from lightning_face.tables.centers import Centers


class ShardedCenters(Centers):
    """Each rank holds the rows of its own classes; no row moves but, for MML, those of a batch's classes.

    Args:
        num_classes: C.
        dim: D.
        options: see `Centers`.
    """

    def __init__(self, num_classes: int, dim: int, **options: Any) -> None:
        super().__init__(num_classes, own_classes(num_classes), dim, **options)

    def samples(self, batch: GlobalBatch) -> tuple[Tensor, Tensor]:
        """See `Centers.samples`: each rank answers for the samples of its own classes."""
        features_GD = batch.features_GD  # first: labels come with them
        if len(self.held) == self.num_classes:
            return features_GD, batch.labels_G
        held, places = held_places(self.held, batch.labels_G)
        return features_GD.index_select(0, held), places

    def of_any(self, tensor_H: Tensor, classes_U: Tensor) -> Tensor:
        """See `Centers.of_any`; one reduction of (U, ...)."""
        is_held_U, places = self.places(classes_U)
        entries_U = tensor_H.new_zeros((len(classes_U), *tensor_H.shape[1:]))
        entries_U[is_held_U] = tensor_H.index_select(0, places)
        return all_reduce_sum_(entries_U)

    def over_held_(self, tensor: Tensor) -> Tensor:
        """See `Centers.over_held_`; one reduction."""
        return all_reduce_sum_(tensor)

    def _sums(self, batch: GlobalBatch, num_classes: int, slots_G: Tensor, differentiable: bool) -> Tensor:
        features_GD = batch.features_GD if differentiable else batch.features_GD.detach()
        return class_sums(features_GD, slots_G, num_classes)
