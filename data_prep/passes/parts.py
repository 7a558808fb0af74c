"""The parts in which a source may be gathered, by one command each: who has which, who is at work, who has finished."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lightning_face.errors import ConfigError, DataError
from lightning_face.files import write_atomically


class Part(NamedTuple):
    """Part `number`, from 1, of `of`: every `of`-th chunk of the source."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def owns(self, chunk: int) -> bool:
        """Whether a chunk, numbered from 0, is this part's."""
        return chunk % self.of == self.number - 1

    def lock_path(self, work: Path) -> Path:
        """A file that whoever gathers this part holds a lock on."""
        return work / f"part-{self.number}-of-{self.of}.lock"

    def finished_path(self, work: Path) -> Path:
        """A file that is there once the part is gathered."""
        return work / f"part-{self.number}-of-{self.of}.json"

    def finish(self, work: Path, num_items: int) -> None:
        """Note that this part is gathered, of a source of so many items in all parts."""
        write_atomically(self.finished_path(work), json.dumps({"items": num_items}).encode())


WHOLE = Part(1, 1)


@dataclass(frozen=True)
class Job:
    """How a command goes about its work; the bytes of a dataset do not depend on it.

    Args:
        part: of the source that it gathers; others than the whole are merged later.
        max_rejected: share of unusable images above which the whole is an error, in [0, 1].
        workers: processes; 0 works in this one.
    """

    part: Part = WHOLE
    max_rejected: float = 1.0
    workers: int = 0


@contextmanager
def alone(lock: Path, what: object) -> Iterator[None]:
    """Hold a lock for this process; a killed one lets go of it.

    Args:
        lock: the file.
        what: is written by whoever holds it.

    Raises:
        ConfigError: another process holds it.
    """
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another run is writing {what}; wait for it or stop it") from error
        except OSError:
            pass  # a network file system without locks: two runs at once are the user's to avoid
        yield


@contextmanager
def gathering(work: Path, part: Part) -> Iterator[None]:
    """Hold a part for this process.

    Raises:
        ConfigError: another process holds it, or the work was begun in another number of parts.
    """
    out, begun = work.parent, num_parts(work)
    if begun not in (0, part.of):
        raise ConfigError(
            f"{out} was begun in {begun} part(s), not {part.of}; give --part 1/{begun} and so on, then"
            f" `python -m data_prep merge {out}`, or remove it"
        )
    with alone(part.lock_path(work), out if part == WHOLE else f"part {part} of {out}"):
        yield


def num_parts(work: Path) -> int:
    """In how many parts the work was begun; 0 if it was not.

    Raises:
        ConfigError: in two numbers of parts at once.
    """
    begun = sorted({int(path.stem.rpartition("-")[2]) for path in work.glob("part-*-of-*.lock")})
    if len(begun) > 1:
        raise ConfigError(f"{work.parent} was begun in {begun[0]} and in {begun[1]} parts; remove it and start again")
    return begun[0] if begun else 0


def all_parts(num_parts: int) -> list[Part]:
    """Every part of a source that is gathered in so many."""
    return [Part(number, num_parts) for number in range(1, num_parts + 1)]


def unfinished(work: Path, parts: Sequence[Part]) -> list[Part]:
    """The parts that are still to be gathered."""
    return [part for part in parts if not part.finished_path(work).exists()]


def items_of(work: Path, parts: Sequence[Part]) -> int:
    """Number of items of the source, which all parts must agree on.

    Raises:
        DataError: a part is not gathered, or found another number of items.
    """
    missing = unfinished(work, parts)
    if missing:
        names = ", ".join(map(str, missing))
        command = "the same command again" if missing == [WHOLE] else f"the command with --part {missing[0]}"
        raise DataError(f"{work.parent}: not gathered yet: part(s) {names}; give {command}")
    counts = [int(json.loads(part.finished_path(work).read_text())["items"]) for part in parts]
    for part, count in zip(parts, counts, strict=True):
        if count != counts[0]:
            raise DataError(
                f"{work.parent}: the source had {counts[0]:,} images for part {parts[0]} and {count:,} for part {part};"
                f" remove {work.parent} and start again"
            )
    return counts[0]
