"""LFW's lists of people: `peopleDevTrain.txt` (one list) and `people.txt` (folds)."""

from dataclasses import dataclass
from pathlib import Path

from lightning_face.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Person:
    """A line of the list: an identity, its number of images (0001 ...), and where it stands."""

    name: str
    images: int
    line: int


def read_people(path: Path, without_fold: int | None) -> list[Person]:
    """People of all folds, or of all but one.

    Args:
        path: the list.
        without_fold: counted from 0, to be left out; None keeps all.

    Raises:
        DataError: the file is missing or not such a list.
        ConfigError: there is no such fold.
    """
    folds = read_people_folds(path)
    if without_fold is not None and not (len(folds) > 1 and 0 <= without_fold < len(folds)):
        raise ConfigError(f"--without-fold {without_fold}: {path} has {len(folds)} fold(s), numbered from 0")
    people = [person for fold, people in enumerate(folds) if fold != without_fold for person in people]
    seen: dict[str, int] = {}
    for person in people:
        if person.name in seen:
            raise DataError(f"{path} line {person.line}: {person.name} is listed in line {seen[person.name]} already")
        seen[person.name] = person.line
    return people


def read_people_folds(path: Path) -> list[list[Person]]:
    """The people of each fold; one fold for a list without folds.

    Raises:
        DataError: the file is missing or not such a list.
    """
    lines = read_lines(path)
    first = _count(path, lines, 0)
    # A second line with a single number begins a fold; a list without folds has its first name there.
    if len(lines) < 2 or len(fields_of(lines[1])) != 1:
        return [_fold(path, lines, 1, first, last=True)]
    folds, start = [], 1
    for fold in range(first):
        count = _count(path, lines, start)
        folds.append(_fold(path, lines, start + 1, count, last=fold == first - 1))
        start += 1 + count
    return folds


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file, without blank ones at its end.

    Raises:
        DataError: it is missing, empty, or no text.
    """
    try:
        text = path.read_text(encoding="utf-8").rstrip()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    if not text:
        raise DataError(f"{path} is empty")
    # Not splitlines(): it also breaks at letters that may stand in a name.
    return text.split("\n")


def fields_of(line: str) -> list[str]:
    """Fields of a line, separated by tabs, or by blanks where there is no tab."""
    return [field.strip() for field in line.split("\t")] if "\t" in line else line.split()


def whole_number(text: str) -> int | None:
    """A positive integer, or None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def _count(path: Path, lines: list[str], at: int) -> int:
    count = whole_number(lines[at].strip()) if at < len(lines) else None
    if count is None:
        found = repr(lines[at]) if at < len(lines) else "the end of the file"
        raise DataError(f"{path} line {at + 1}: expected a count of folds or people, found {found}")
    return count


def _fold(path: Path, lines: list[str], start: int, count: int, last: bool) -> list[Person]:
    people = []
    for at, line in enumerate(lines[start : start + count], start):
        fields = fields_of(line)
        images = whole_number(fields[1]) if len(fields) == 2 else None
        if images is None:
            raise DataError(f"{path} line {at + 1}: expected NAME<tab>IMAGES, found {line!r}")
        people.append(Person(fields[0], images, at + 1))
    if len(people) < count or (last and len(lines) > start + count):
        raise DataError(f"{path} line {start}: announces {count} people, {len(lines) - start} lines follow")
    return people
