"""One chunk of a source gathered: its faces made, and written to the spool."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import numpy as np

from data_prep.images import RejectedImage, perceptual_hash
from data_prep.passes.recipe import Recipe
from data_prep.passes.source import Face, Source
from data_prep.passes.spool import FACE_DTYPE, Spooled, digest_of, faces_path, sha256_of_items, spooled_path
from data_prep.pool import Advance
from lightning_face.errors import DataError
from lightning_face.files import move_into_place

Item = TypeVar("Item")


@dataclass(frozen=True)
class Chunk(Generic[Item]):
    """Neighbouring items of a source; all chunks but the last are of `spool.CHUNK_ITEMS`."""

    number: int
    items: Sequence[Item]


@dataclass(frozen=True)
class Gatherer(Generic[Item]):
    """Spools chunks, in this or a worker process; picklable if the source is.

    Args:
        work: folder of unfinished work.
        source: makes faces of items.
        recipe: says whether unusable images are left out, and faces hashed.
    """

    work: Path
    source: Source[Item]
    recipe: Recipe

    def __call__(self, chunk: Chunk[Item], advance: Advance) -> None:
        """Write a chunk's faces, then what is known of them.

        Raises:
            DataError: the disk is full or read-only, or an image is unusable where all must be kept.
        """
        path = faces_path(self.work, chunk.number)
        # A worker of a killed run may live a moment longer than its parent: no two share a temporary file.
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                spooled = self._fill(file, chunk.items, advance)
            move_into_place(temporary, path)
            spooled.write(spooled_path(self.work, chunk.number))
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror or error}; mend it and start again") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _fill(self, file: BinaryIO, items: Sequence[Item], advance: Advance) -> Spooled:
        faces, identities, rejected = [], dict[str, int](), dict[int, str]()
        for place, item in enumerate(items):
            try:
                identity, jpeg = self._make(item)
                perceptual = 0 if self.recipe.near_duplicates is None else perceptual_hash(jpeg)
            except RejectedImage as reason:
                if self.recipe.keep_all:
                    raise DataError(f"{item}: {reason}; a verification set needs every image") from reason
                rejected[place] = str(reason)
            else:
                file.write(jpeg)
                line = identities.setdefault(identity, len(identities))
                faces.append((place, line, len(jpeg), digest_of(jpeg), perceptual))
            advance()
        return Spooled(
            sha256_of_items(items), [str(item) for item in items], list(identities),
            np.array(faces, dtype=FACE_DTYPE), rejected,
        )  # fmt: skip

    def _make(self, item: Item) -> Face:
        try:
            face = self.source.make(item)
        except OSError as error:
            raise RejectedImage(f"cannot be read: {error.strerror}") from error
        if not _is_a_line(face.identity):
            raise RejectedImage(f"an identity's name is one line of UTF-8: {face.identity!r}")
        return face


def _is_a_line(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name != "" and not {"\n", "\r"} & set(name)
