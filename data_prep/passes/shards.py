"""Second pass: one shard made whole from the spool, and a sidecar from which index and manifest are merged."""

import hashlib
import os
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from data_prep import tars
from data_prep.passes.recipe import Recipe
from data_prep.passes.selection import Selection
from data_prep.passes.sidecar import Sidecar, sidecar_path
from data_prep.passes.spool import FaceReader
from data_prep.pool import Advance
from lightning_face.data.manifest import INDEX_DTYPE, Shard
from lightning_face.errors import DataError
from lightning_face.files import move_into_place
from lightning_face.hashing import permutation


@dataclass(frozen=True)
class ShardTask:
    """What goes into one shard: its number, and its samples, SAMPLE_DTYPE, in the order of writing."""

    number: int
    samples: NDArray[np.void]


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:06d}.tar"


def order_of(num_samples: int, recipe: Recipe) -> list[NDArray[np.int64]]:
    """Places of the samples in each shard; sizes differ by at most one, so that workers and lanes are even."""
    places = permutation(num_samples, recipe.seed, "shards") if recipe.shuffle else np.arange(num_samples)
    return np.array_split(places, -(-num_samples // recipe.shard_samples))


def sha256_of(selection: Selection) -> str:
    """Digest of who is in a dataset."""
    digest = hashlib.sha256(selection.samples.data)
    for name in selection.identities:
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class ShardWriter:
    """Makes shards, in this or a worker process.

    Args:
        out: folder of the dataset.
        work: folder of unfinished work, on the same file system.
        selection_sha256: written to each sidecar.
    """

    out: Path
    work: Path
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
            with temporary.open("wb") as file, closing(FaceReader(self.work)) as faces:
                tar = _Tar(file, task.number)
                for number, chunk, offset, size, label in task.samples.tolist():
                    tar.add(f"{number:09d}", faces.read(chunk, offset, size), label)
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
