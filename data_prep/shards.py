"""One shard made whole: its tar, and a sidecar from which the index and the manifest are merged at the end."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import numpy as np

from data_prep import tars
from data_prep.images import RejectedImage
from data_prep.plan import Labelled
from data_prep.pool import Advance
from data_prep.sidecar import Sidecar, sidecar_path
from lightning_face.data.manifest import INDEX_DTYPE, Shard
from lightning_face.errors import DataError
from lightning_face.files import move_into_place

T = TypeVar("T", bound=Labelled)


@dataclass(frozen=True)
class ShardTask(Generic[T]):
    """What goes into one shard: its number, and each item with its number in the plan, in the order of writing."""

    number: int
    numbers: Sequence[int]
    items: Sequence[T]


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:06d}.tar"


@dataclass(frozen=True)
class ShardWriter(Generic[T]):
    """Makes shards, in this or a worker process; picklable if `make` is.

    Args:
        out: folder of the dataset.
        work: folder of unfinished work, on the same file system.
        make: JPEG bytes of an item; raises `RejectedImage`.
        plan_sha256: written to each sidecar.
        keep_all: a rejected image is an error rather than left out.
    """

    out: Path
    work: Path
    make: Callable[[T], bytes]
    plan_sha256: str
    keep_all: bool

    def __call__(self, task: ShardTask[T], advance: Advance) -> None:
        """Write one shard and then its sidecar.

        Raises:
            DataError: the disk is full or read-only, or an image was rejected where all must be kept.
        """
        name = shard_name(task.number)
        temporary = self.work / f"{name}.tmp"
        try:
            with temporary.open("wb") as file:
                tar = _Tar(file, task.number)
                rejected = self._fill(tar, task, advance)
                tar.write(tars.end_of_archive(tar.length))
            move_into_place(temporary, self.out / name)
            shard = Shard(name, len(tar.rows), tar.length, tar.digest.hexdigest())
            sidecar = Sidecar(self.plan_sha256, shard, np.array(tar.rows, dtype=INDEX_DTYPE), rejected)
            sidecar.write(sidecar_path(self.work, task.number))
        except OSError as error:
            raise DataError(
                f"cannot write {self.out / name}: {error.strerror or error}; mend it and start again"
            ) from error

    def _fill(self, tar: "_Tar", task: ShardTask[T], advance: Advance) -> list[tuple[int, str, str]]:
        rejected = []
        for number, item in zip(task.numbers, task.items, strict=True):
            try:
                tar.add(f"{number:09d}", self.make(item), item.label)
            except RejectedImage as reason:
                if self.keep_all:
                    raise DataError(f"{item}: {reason}; a verification set needs every image") from reason
                rejected.append((number, str(item), str(reason)))
            advance()
        return rejected


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
        for suffix, data in (("jpg", image), ("cls", str(label).encode())):
            self.write(tars.header(f"{key}.{suffix}", len(data)) + data + tars.padding(len(data)))
