"""Second pass: one shard made whole from the spool, and a sidecar from which index and manifest are merged."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from data_prep import tars
from data_prep.passes.recipe import Recipe
from data_prep.passes.rows import Rows, even_ranges
from data_prep.passes.selection import SAMPLE_DTYPE, Selection
from data_prep.passes.sidecar import Sidecar, sidecar_path
from data_prep.passes.spool import FaceReader
from data_prep.pool import Advance
from lightning_face.data.manifest import INDEX_DTYPE, Shard
from lightning_face.errors import DataError
from lightning_face.files import move_into_place
from lightning_face.hashing import hash64


@dataclass(frozen=True)
class ShardTask:
    """What goes into one shard: its number, and its samples, SAMPLE_DTYPE, in the order of writing."""

    number: int
    samples: NDArray[np.void]


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:06d}.tar"


def sizes_of(num_samples: int, recipe: Recipe) -> list[int]:
    """Samples in each shard, of one at least; they differ by at most one, so that workers and lanes are even."""
    num_shards = -(-num_samples // recipe.shard_samples)
    size, larger = divmod(num_samples, num_shards)
    return [size + (number < larger) for number in range(num_shards)]


def tasks_of(samples: Rows, recipe: Recipe) -> Iterator[ShardTask]:
    """All shards, in their order.

    Args:
        samples: SAMPLE_DTYPE, in the order of the source.
        recipe: how they are shuffled and cut.
    """
    pieces = _cut(_in_order(samples, recipe), sizes_of(len(samples), recipe))
    return (ShardTask(number, rows) for number, rows in enumerate(pieces))


def _in_order(samples: Rows, recipe: Recipe) -> Iterator[NDArray[np.void]]:
    """Samples in the order of writing: that of the hashes of their places, if they are shuffled."""
    if not recipe.shuffle:
        yield from samples.blocks()
        return

    def keys(rows: NDArray[np.void], start: int) -> NDArray[np.uint64]:
        return hash64(recipe.seed, "shards", np.arange(start, start + len(rows)))

    for rows, own in samples.by_key(keys, even_ranges(len(samples))):
        yield rows[np.argsort(own, kind="stable")]


def _cut(blocks: Iterator[NDArray[np.void]], sizes: Sequence[int]) -> Iterator[NDArray[np.void]]:
    left = np.empty(0, SAMPLE_DTYPE)
    for size in sizes:
        pieces = [left]
        while sum(map(len, pieces)) < size:
            pieces.append(next(blocks))
        left = np.concatenate(pieces)
        yield left[:size]
        left = left[size:]


def sha256_of(selection: Selection) -> str:
    """Digest of who is in a dataset."""
    digest = hashlib.sha256()
    for block in selection.samples.blocks():
        digest.update(block.tobytes())
    for name in selection.identities:
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class ShardWriter:
    """Makes shards, in this or a worker process.

    Args:
        out: folder of the dataset.
        work: folder of unfinished work, on the same file system.
        faces: that were gathered there.
        selection_sha256: written to each sidecar.
    """

    out: Path
    work: Path
    faces: FaceReader
    selection_sha256: str

    def __call__(self, task: ShardTask, advance: Advance) -> None:
        """Write one shard and then its sidecar.

        Raises:
            DataError: the disk is full or read-only, or the spool is damaged.
        """
        name = shard_name(task.number)
        # A worker of a killed run may live a moment longer than its parent: no two share a temporary file.
        temporary = self.work / f"{name}.{os.getpid()}.tmp"
        try:
            with temporary.open("wb") as file:
                tar = _Tar(file, task.number)
                for number, chunk, offset, size, label, _ in task.samples.tolist():
                    tar.add(f"{number:09d}", self.faces.read(chunk, offset, size), label)
                    advance()
                tar.write(tars.end_of_archive(tar.length))
            move_into_place(temporary, self.out / name)
            shard = Shard(name, len(tar.rows), tar.length, tar.digest.hexdigest())
            sidecar = Sidecar(self.selection_sha256, shard, np.array(tar.rows, dtype=INDEX_DTYPE))
            sidecar.write(sidecar_path(self.work, task.number))
        except OSError as error:
            raise DataError(
                f"cannot write {self.out / name}: {error.strerror or error}; mend it and start again"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


@dataclass
class _Tar:
    file: BinaryIO
    number: int
    length: int = 0
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.length += len(data)

    def add(self, key: str, image: bytes, label: int) -> None:
        self.rows.append((self.number, self.length + tars.BLOCK, len(image), label))
        members = (f"{key}.jpg", image), (f"{key}.cls", b"%d" % label)
        self.write(b"".join(tars.header(name, len(data)) + data + tars.padding(len(data)) for name, data in members))
