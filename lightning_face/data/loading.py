"""Batches in the order of a sampler, read and decoded ahead of need by worker processes."""

from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from lightning_face import signals
from lightning_face.data.device_decode import EncodedFaces
from lightning_face.data.faces import BatchRequest, Faces
from lightning_face.data.ring import Ring
from lightning_face.data.sampler import GivenSampler, PlacingSampler, TrainSampler

READ_AHEAD = 2
"""Batches that each worker has ready or in work, beyond the one that is used."""

_IN_USE = 3
"""Batches that the trainer looks at while it asks for another: the present one, the one that Lightning fetched ahead,
and the one that has just come."""


class _Loader(DataLoader[Any]):
    """Starts its workers while signals are held back, until they are shielded: torch's own would end by one."""

    def __iter__(self) -> Any:
        with signals.held_back():
            return super().__iter__()


def make_loader(
    faces: Faces | EncodedFaces, requests: TrainSampler | GivenSampler, batch_size: int, *, num_workers: int,
    keep_workers: bool, device: torch.device,
) -> DataLoader[Any]:  # fmt: skip
    """The batches that a sampler asks for, `FaceBatch` or `EncodedBatch`.

    Args:
        faces: where the images are.
        requests: which of them make up each batch.
        batch_size: of the largest one.
        num_workers: processes that read and decode; 0 reads in this one.
        keep_workers: for the next epoch.
        device: that the batches will be moved to.
    """
    sampler: Sampler[BatchRequest] = requests
    if isinstance(faces, Faces):  # what is still encoded is small
        ring = Ring(READ_AHEAD * num_workers + _IN_USE, faces.batch_shape(batch_size).numel())
        sampler = PlacingSampler(requests, ring)
    return _Loader(
        faces,
        sampler=sampler,
        batch_size=None,
        collate_fn=_unchanged,  # arrays would become tensors, which are sent by file descriptors
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,  # workers inherit the ring, and imports
        prefetch_factor=READ_AHEAD if num_workers else None,
        persistent_workers=keep_workers and num_workers > 0,
        worker_init_fn=signals.shield_worker,
        pin_memory=device.type == "cuda",
    )


def _unchanged(batch: Any) -> Any:
    return batch
