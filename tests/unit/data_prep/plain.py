"""A source whose items are their own faces, so that tests of what every source goes through need no images."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.images import RejectedImage
from data_prep.passes.parts import WHOLE, Job, Part
from data_prep.passes.recipe import Recipe
from data_prep.passes.source import Face
from data_prep.passes.writer import write_dataset

PLAIN = Recipe()


class PlainItem(NamedTuple):
    name: str
    identity: str
    jpeg: bytes
    """Empty for an image that cannot be used."""

    def __str__(self) -> str:
        return self.name


class Plain:
    def __init__(self, items: Sequence[PlainItem]) -> None:
        self.planned = items

    def items(self) -> Iterator[PlainItem]:
        return iter(self.planned)

    def make(self, item: PlainItem) -> Face:
        if not item.jpeg:
            raise RejectedImage("damaged: on purpose")
        return Face(item.identity, item.jpeg)


def plain(*faces: tuple[str, bytes]) -> Plain:
    """A source of (identity, bytes), named by identity and place."""
    return Plain([PlainItem(f"{identity}/{place}", identity, jpeg) for place, (identity, jpeg) in enumerate(faces)])


def write(out: Path, source: Plain, recipe: Recipe = PLAIN, part: Part = WHOLE, workers: int = 0) -> None:
    """Write a dataset, or a part of its spool."""
    write_dataset(out, source, recipe, Job(part, workers=workers), options={"command": "plain"})
