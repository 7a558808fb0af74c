"""Batches in the order of a sampler, read and decoded ahead of need by worker processes."""

from typing import Any

import torch
from torch.utils.data import DataLoader

from lightning_face import signals
from lightning_face.data.faces import FaceBatch, Faces
from lightning_face.data.ring import Ring
from lightning_face.data.sampler import GivenSampler, PlacingSampler, TrainSampler

READ_AHEAD = 2
"""Batches that each worker has ready or in work, beyond the one that is used."""

_IN_USE = 3
"""Batches that the trainer looks at while it asks for another: the present one, the one that Lightning fetched ahead,
and the one that has just come."""


class _Loader(DataLoader[FaceBatch]):
    """Starts its workers while signals are held back, until they are shielded: torch's own would end by one."""

    def __iter__(self) -> Any:
        with signals.held_back():
            return super().__iter__()


def make_loader(
    faces: Faces, requests: TrainSampler | GivenSampler, batch_size: int, *, num_workers: int, keep_workers: bool,
    device: torch.device,
) -> DataLoader[FaceBatch]:  # fmt: skip
    """The batches that a sampler asks for.

    Args:
        faces: where the images are.
        requests: which of them make up each batch.
        batch_size: of the largest one.
        num_workers: processes that read and decode; 0 reads in this one.
        keep_workers: for the next epoch.
        device: that the batches will be moved to.
    """
    ring = Ring(READ_AHEAD * num_workers + _IN_USE, batch_size * faces.batch_shape(1).numel())
    return _Loader(
        faces,
        sampler=PlacingSampler(requests, ring),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,  # workers inherit the ring, and imports
        prefetch_factor=READ_AHEAD if num_workers else None,
        persistent_workers=keep_workers and num_workers > 0,
        worker_init_fn=signals.shield_worker,
        pin_memory=device.type == "cuda",
    )
