"""Hashes of all images of a dataset, of their bytes and of their looks: a few columns, whatever the images' size.

Shapes: N images.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.images import RejectedImage, perceptual_hash
from data_prep.passes.spool import digest_of
from data_prep.pool import Advance, run_tasks
from data_prep.progress import progress
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError

HASHES_DTYPE = np.dtype([("digest", "<u8", (2,)), ("perceptual", "<u8"), ("is_decoded", "?")])
"""BLAKE2b of an image's bytes, its perceptual hash, and whether it has one: damaged images have not."""


class ShardToHash(NamedTuple):
    """A tar and its rows of the index."""

    path: Path
    rows: NDArray[np.void]


def hash_images(dataset: Shards, workers: int) -> NDArray[np.void]:
    """Hashes of all images.

    Args:
        dataset: whose.
        workers: processes.

    Returns:
        (N,) HASHES_DTYPE, by sample id.

    Raises:
        DataError: a shard cannot be read.
    """
    order_N = np.argsort(dataset.index["shard"], kind="stable")
    hashes_N = np.empty(len(order_N), HASHES_DTYPE)
    with progress(f"hashing {dataset.folder}", len(order_N)) as show:
        hashes_N[order_N] = np.concatenate(run_tasks(hash_shard, _tasks(dataset, order_N), workers, show))
    return hashes_N


def _tasks(dataset: Shards, order_N: NDArray[np.int64]) -> Iterator[ShardToHash]:
    ends = np.cumsum(np.bincount(dataset.index["shard"], minlength=len(dataset.manifest.shards)))
    for shard, samples in zip(dataset.manifest.shards, np.split(order_N, ends[:-1]), strict=True):
        yield ShardToHash(dataset.folder / shard.name, dataset.index[samples])


def hash_shard(task: ShardToHash, advance: Advance) -> NDArray[np.void]:
    """Hashes of a shard's images, HASHES_DTYPE, in the order of its rows.

    Raises:
        DataError: it cannot be read.
    """
    hashes = np.zeros(len(task.rows), HASHES_DTYPE)
    try:
        with task.path.open("rb") as file:
            for place, (_, offset, size, _) in enumerate(task.rows.tolist()):
                file.seek(offset)
                hashes[place] = _hashes_of(file.read(size))
                advance()
    except OSError as error:
        raise DataError(f"cannot read {task.path}: {error.strerror}") from error
    return hashes


def _hashes_of(image: bytes) -> tuple[NDArray[np.uint64], int, bool]:
    try:
        return digest_of(image), perceptual_hash(image), True
    except RejectedImage:
        return digest_of(image), 0, False
