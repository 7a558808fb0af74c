"""Whether batches can be shared by the ranks, and hold what the losses need: asked before ranks are started."""

from collections.abc import Sequence

import torch

from lightning_face.data.faces import Faces
from lightning_face.data.identity_order import IdentityOrder
from lightning_face.data.loading import READ_AHEAD
from lightning_face.data.order import Order, slots_of
from lightning_face.data.triplet_order import TripletOrder
from lightning_face.errors import ConfigError


def check_batch(order: Order, num_ranks: int, accumulation: int, num_workers: int) -> None:
    """Every rank gets equally large micro-batches, of whole identities or triplets.

    Args:
        order: of data.
        num_ranks: that share a micro-batch.
        accumulation: micro-batches per optimizer step.
        num_workers: of a rank, which read ahead.

    Raises:
        ConfigError: sizes that do not divide each other, or triplets that are mined too late.
    """
    if isinstance(order, TripletOrder):
        order.check_micro_batches(num_ranks, accumulation, READ_AHEAD * num_workers)
    slots_of(order.global_batch_size, accumulation, 0, 0, num_ranks)
    per_micro_batch = order.global_batch_size // accumulation
    if isinstance(order, IdentityOrder) and per_micro_batch % order.images_per_identity:
        raise ConfigError(
            f"data.images_per_identity {order.images_per_identity} must divide a micro-batch of"
            f" {per_micro_batch} samples (data.global_batch_size / trainer.accumulate_grad_batches)"
        )


def check_decoding(on_gpu: bool, device: torch.device) -> None:
    """There is a GPU where images are decoded on one.

    Args:
        on_gpu: whether they are.
        device: that trains.

    Raises:
        ConfigError: it is another.
    """
    if on_gpu and device.type != "cuda":
        raise ConfigError(f"data.decode gpu needs a CUDA device, this run trains on {device}; set data.decode to cpu")


def check_triplets(order: Order, *, are_wanted: bool) -> None:
    """Triplets are mined for a loss that takes them as they stand, and for that alone.

    Args:
        order: of data.
        are_wanted: whether there is such a loss.

    Raises:
        ConfigError: one of the two is missing.
    """
    are_mined = isinstance(order, TripletOrder)
    if are_wanted and not are_mined:
        raise ConfigError(
            "objective.triplet.mining offline takes triplets that nothing mines: set data.mine_every_n_steps, or"
            " choose triplets within the batch, semi_hard say"
        )
    if are_mined and not are_wanted:
        raise ConfigError(
            "data.mine_every_n_steps mines triplets that no loss takes: set objective.triplet.mining to offline"
        )


def check_pairs(order: Order, faces: Faces, accumulation: int, wanted_by: Sequence[str]) -> None:
    """Each micro-batch has several images of several identities, where a loss compares them.

    Args:
        order: of data.
        faces: to train on.
        accumulation: micro-batches per optimizer step.
        wanted_by: terms of the loss that need them; nothing is checked where there are none.

    Raises:
        ConfigError: the order gives no pairs, or the data has none.
    """
    if not wanted_by:
        return
    _check_identities(faces, wanted_by[0])
    if isinstance(order, TripletOrder):
        return
    per_identity = order.images_per_identity if isinstance(order, IdentityOrder) else 1
    per_micro_batch = order.global_batch_size // accumulation
    if not 1 < per_identity < per_micro_batch:
        raise ConfigError(
            f"objective.{wanted_by[0]} compares images of a person with one another and with others': set"
            f" data.images_per_identity to 2 or more, below a micro-batch's {per_micro_batch} samples"
        )


def _check_identities(faces: Faces, wanted_by: str) -> None:
    counts_C = faces.class_counts()
    if int((counts_C > 0).sum()) < 2 or int(counts_C.max()) < 2:
        raise ConfigError(
            f"objective.{wanted_by} compares images of a person with one another and with others', but"
            f" {faces.shards.source} has images of {int((counts_C > 0).sum()):,} identities, at most"
            f" {int(counts_C.max()):,} of each; use other data, or losses that need no pairs"
        )
