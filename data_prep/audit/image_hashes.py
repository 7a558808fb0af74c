"""Hashes of all images of a dataset, of their bytes and of their looks: a few columns, whatever the images' size.

Shapes: N images.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.images import RejectedImage, perceptual_hash
from data_prep.passes.spool import digest_of
from data_prep.pool import Advance, run_tasks
from data_prep.progress import progress, say
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError
from lightning_face.files import write_atomically

HASHES_DTYPE = np.dtype([("digest", "<u8", (2,)), ("perceptual", "<u8"), ("is_decoded", "?")])
"""BLAKE2b of an image's bytes, its perceptual hash, and whether it has one: damaged images have not."""


class ShardToHash(NamedTuple):
    """A tar, its rows of the index, and the file to keep the hashes in; None keeps none."""

    path: Path
    rows: NDArray[np.void]
    kept: Path | None


def hash_images(dataset: Shards, workers: int, keep: Path | None) -> NDArray[np.void]:
    """Hashes of all images.

    Args:
        dataset: whose.
        workers: processes.
        keep: folder for the hashes of each shard, by the shard's bytes; those that are there are taken. None has none.

    Returns:
        (N,) HASHES_DTYPE, by sample id.

    Raises:
        DataError: a shard cannot be read, or hashes cannot be kept.
    """
    order_N = np.argsort(dataset.index["shard"], kind="stable")
    tasks = list(_tasks(dataset, order_N, keep))
    found = [_kept(task) for task in tasks]
    missing = [task for task, hashes in zip(tasks, found, strict=True) if hashes is None]
    if len(missing) < len(tasks):
        say(f"{dataset.folder}: {len(tasks) - len(missing):,} of {len(tasks):,} shards are hashed already")
    with progress(f"hashing {dataset.folder}", sum(len(task.rows) for task in missing)) as show:
        made = iter(run_tasks(hash_shard, missing, workers, show))
    hashes_N = np.empty(len(order_N), HASHES_DTYPE)
    hashes_N[order_N] = np.concatenate([next(made) if hashes is None else hashes for hashes in found])
    return hashes_N


def _tasks(dataset: Shards, order_N: NDArray[np.int64], keep: Path | None) -> Iterator[ShardToHash]:
    ends = np.cumsum(np.bincount(dataset.index["shard"], minlength=len(dataset.manifest.shards)))
    for shard, samples in zip(dataset.manifest.shards, np.split(order_N, ends[:-1]), strict=True):
        rows = dataset.index[samples]
        content = shard.sha256.encode() + rows["offset"].tobytes() + rows["size"].tobytes()
        kept = keep and keep / hashlib.sha256(content).hexdigest()
        yield ShardToHash(dataset.folder / shard.name, rows, kept)


def _kept(task: ShardToHash) -> NDArray[np.void] | None:
    try:
        return None if task.kept is None else np.frombuffer(task.kept.read_bytes(), HASHES_DTYPE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read {task.kept}: {error.strerror}; remove it and start again") from error


def hash_shard(task: ShardToHash, advance: Advance) -> NDArray[np.void]:
    """Hashes of a shard's images, HASHES_DTYPE, in the order of its rows.

    Raises:
        DataError: it cannot be read, or its hashes cannot be kept.
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
    if task.kept is not None:
        try:
            write_atomically(task.kept, hashes.tobytes())
        except OSError as error:
            raise DataError(f"cannot write {task.kept}: {error.strerror}; mend it and start again") from error
    return hashes


def _hashes_of(image: bytes) -> tuple[NDArray[np.uint64], int, bool]:
    try:
        return digest_of(image), perceptual_hash(image), True
    except RejectedImage:
        return digest_of(image), 0, False
