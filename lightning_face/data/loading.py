"""Batches in the order of a sampler, read and decoded ahead of need by worker processes."""

import logging
from functools import partial
from multiprocessing.synchronize import Semaphore
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from lightning_face.data.device_decode import EncodedFaces
from lightning_face.data.faces import BatchRequest, Faces
from lightning_face.data.ring import Ring
from lightning_face.data.sampler import GivenSampler, PlacingSampler, TrainSampler
from lightning_face.data.workers import WorkerContext, shield
from lightning_face.errors import DataError

_log = logging.getLogger(__name__)

READ_AHEAD = 2
"""Batches that each worker has ready or in work, beyond the one that is used."""

_IN_USE = 3
"""Batches that the trainer looks at while it asks for another: the present one, the one that Lightning fetched ahead,
and the one that has just come."""


START_LIMIT_S = 60.0
"""How long workers may take to begin."""

_MOST_STARTS = 3


class _Loader(DataLoader[Any]):
    """Starts workers again that do not say that they have begun.

    A worker is forked from a process with threads, and waits for ever where one of these held a lock at that moment
    which the child needs: that of CPython 3.11's list of threads, say, in a thread of gloo that lets go of a tensor.
    """

    def __iter__(self) -> Any:
        if self.num_workers == 0 or self._iterator is not None:  # those that were kept have begun
            return super().__iter__()
        for number in range(_MOST_STARTS):
            if number:
                _log.warning("a data worker has not begun within %.0f s; all are started again", START_LIMIT_S)
            begun = self.multiprocessing_context.Semaphore(0)
            self.worker_init_fn = partial(_begin, begun)
            batches = super().__iter__()
            if all(begun.acquire(timeout=START_LIMIT_S) for _ in range(self.num_workers)):
                return batches
            self._end(batches)
        raise DataError(
            f"data workers have not begun within {START_LIMIT_S:.0f} s, {_MOST_STARTS} times; start the run again, or"
            " set data.num_workers to 0"
        )

    def _end(self, batches: Any) -> None:
        """What hangs before it begins hears no signal but SIGKILL, which is no error once torch has given up on it."""
        batches._shutdown_workers()
        for worker in batches._workers:
            worker.kill()
            worker.join()
        self._iterator = None


def _begin(begun: Semaphore, worker_id: int) -> None:
    shield()
    begun.release()


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
        multiprocessing_context=WorkerContext() if num_workers else None,  # workers inherit the ring, and imports
        prefetch_factor=READ_AHEAD if num_workers else None,
        persistent_workers=keep_workers and num_workers > 0,
        pin_memory=device.type == "cuda",
    )


def _unchanged(batch: Any) -> Any:
    return batch
