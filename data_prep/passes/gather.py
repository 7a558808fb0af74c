"""First pass: the faces of a source, made by workers chunk by chunk, go to the spool."""

from collections.abc import Iterator
from itertools import islice
from operator import length_hint
from pathlib import Path
from typing import TypeVar

from data_prep.passes import spool
from data_prep.passes.gatherer import Chunk, Gatherer
from data_prep.passes.parts import Part
from data_prep.passes.recipe import Recipe
from data_prep.passes.source import Source
from data_prep.passes.spool import Spooled, faces_path, sha256_of_items, spooled_path
from data_prep.pool import run_tasks
from data_prep.progress import progress, say
from lightning_face.errors import ConfigError

Item = TypeVar("Item")


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
    _must_reach(work, num_items)
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
        raise _changed(work, str(chunk.items[0]))
    return bool(size == spooled.faces["size"].sum())


def _must_reach(work: Path, num_items: int) -> None:
    """The source must not end before what was gathered of it."""
    chunks = spool.chunks_of(num_items)
    for path in work.glob("chunk-*.json"):
        if int(path.stem.rpartition("-")[2]) not in chunks:
            raise _changed(work, "its end")


def _changed(work: Path, where: str) -> ConfigError:
    out = work.parent
    return ConfigError(
        f"{out} was begun when its source held other images, from {where} on; remove {out} and start again"
    )
