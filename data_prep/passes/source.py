"""A source: images of named people as some dataset is distributed, in an order that never changes."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeVar

Item = TypeVar("Item")


class Face(NamedTuple):
    """An image as it will be stored, and the name of the person in it."""

    identity: str
    jpeg: bytes


class Source(Protocol[Item]):
    """Where images come from; picklable, so that workers can make faces of its items.

    One that knows how many items it has says so by `len`, for the time left.
    """

    def items(self) -> Iterator[Item]:
        """What the source has, each time in the same order, read no farther than it is asked for.

        An item is picklable: a path, a place in a file, or what was read itself where that can be done only once, as
        from a pipe. `str` of it is what the user knows it by; `repr` tells it from all others, and from one that has
        changed since.

        Raises:
            DataError: the source is missing, unreadable, or not what it should be.
        """

    def make(self, item: Item) -> Face:
        """The face of an item, the same in any process.

        Raises:
            RejectedImage: it cannot be used; the reason is for `rejected.csv`.
            OSError: it cannot be read, and is rejected as well.
        """
