"""First pass: the faces of a source, made by workers chunk by chunk, go to the spool."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import numpy as np

from data_prep import spool
from data_prep.images import RejectedImage, perceptual_hash
from data_prep.parts import Part
from data_prep.pool import Advance, run_tasks
from data_prep.progress import progress, say
from data_prep.recipe import Recipe
from data_prep.source import Face, Source
from data_prep.spool import FACE_DTYPE, Spooled, faces_path, sha256_of_items, spooled_path
from lightning_face.errors import ConfigError, DataError
from lightning_face.files import move_into_place

Item = TypeVar("Item")


@dataclass(frozen=True)
class Chunk(Generic[Item]):
    """Neighbouring items of a source; all chunks but the last are of `spool.CHUNK_ITEMS`."""

    number: int
    items: Sequence[Item]


def gather(work: Path, source: Source[Item], items: Iterator[Item], part: Part, recipe: Recipe, workers: int) -> int:
    """Spool the faces of a part that are not spooled yet. Memory does not grow with the number of items.

    Args:
        work: folder of unfinished work.
        source: makes faces.
        items: of the source, from the first on.
        part: whose chunks to gather.
        recipe: says whether unusable images are left out, and faces hashed.
        workers: processes.

    Returns:
        Number of items in the source, of all parts.

    Raises:
        ConfigError: the source has changed since a chunk was spooled.
        DataError: the source cannot be read, the spool cannot be written, or an image is unusable where all are kept.
    """
    num_items = num_there = 0
    with progress(f"gathering {work.parent}", _num_items_of(part, length_hint(source)) or None) as show:

        def missing() -> Iterator[Chunk[Item]]:
            nonlocal num_items, num_there
            for chunk in _chunks(items):
                num_items += len(chunk.items)
                if not part.owns(chunk.number):
                    continue
                if _is_spooled(work, chunk):
                    num_there += 1
                    show.skip(len(chunk.items))
                else:
                    yield chunk

        run_tasks(Gatherer(work, source, recipe), missing(), workers, show)
    if num_there:
        say(f"{work.parent}: chunks of images that were gathered already: {num_there:,}")
    return num_items


def _chunks(items: Iterator[Item]) -> Iterator[Chunk[Item]]:
    number = 0
    while chunk := list(islice(items, spool.CHUNK_ITEMS)):
        yield Chunk(number, chunk)
        number += 1


def _num_items_of(part: Part, num_items: int) -> int:
    starts = range((part.number - 1) * spool.CHUNK_ITEMS, num_items, part.of * spool.CHUNK_ITEMS)
    return sum(min(spool.CHUNK_ITEMS, num_items - start) for start in starts)


def _is_spooled(work: Path, chunk: Chunk[Item]) -> bool:
    try:
        spooled = Spooled.read(spooled_path(work, chunk.number))
        size = faces_path(work, chunk.number).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if spooled.items_sha256 != sha256_of_items(chunk.items):
        raise ConfigError(
            f"{work.parent} was begun when its source held other images (there, {spooled.items[0]} and on; now,"
            f" {chunk.items[0]}); remove {work.parent} and start again"
        )
    return bool(size == spooled.faces["size"].sum())


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
                faces.append((place, line, len(jpeg), spool.digest_of(jpeg), perceptual))
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
            raise RejectedImage(f"the identity's name {face.identity!r} is no line of UTF-8")
        return face


def _is_a_line(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name != "" and not {"\n", "\r"} & set(name)
