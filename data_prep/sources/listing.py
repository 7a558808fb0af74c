"""Which image files a folder of folders holds, all of them or those that a list names."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.images import SUFFIXES
from data_prep.progress import say
from data_prep.sources.people import Person
from lightning_face.errors import ConfigError, DataError


class ImageFile(NamedTuple):
    """An image file: whose it is, its path below the source, and its length, which tells a changed file."""

    identity: str
    path: str
    bytes: int

    def __str__(self) -> str:
        return self.path


def must_lie_apart(source: Path, out: Path) -> None:
    """Refuse to write a dataset into the folder that its images come from.

    Raises:
        ConfigError: `out` lies in `source`.
    """
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(source)):
        raise ConfigError(f"{out} lies in {source}, where it would be taken for an identity; choose another place")


def numbered_image(source: Path, name: str, number: int, where: str) -> ImageFile:
    """LFW's image `number` of `name`.

    Args:
        source: folder of folders.
        name: identity.
        number: from 1.
        where: list and line that name it, for the error.

    Raises:
        DataError: it is missing.
    """
    path = f"{name}/{name}_{number:04d}.jpg"
    try:
        return ImageFile(name, path, (source / path).stat().st_size)
    except OSError as error:
        missing = source / path if os.path.isdir(source / name) else source / name
        raise DataError(f"{where} names {missing}, which is missing ({error.strerror})") from error


def listed_images(source: Path, people: Path, listed: Sequence[Person]) -> list[ImageFile]:
    """The images that a list of people names.

    Args:
        source: folder of folders.
        people: where the list lies, for errors.
        listed: its lines.

    Raises:
        DataError: an identity or image is missing.
    """
    return [
        numbered_image(source, person.name, number, f"{people} line {person.line}")
        for person in listed
        for number in range(1, person.images + 1)
    ]


def all_images(source: Path) -> Iterator[ImageFile]:
    """Every image in the folders of `source`, by what its name ends with; hidden files and folders are left alone.

    Raises:
        DataError: there are none, a folder cannot be read, or its name cannot be an identity's.
    """
    try:
        folders, found, ignored = folders_in(source), 0, 0
        for name in folders:
            if len(name.splitlines()) != 1 or not _is_utf8(name):
                raise DataError(f"{source}/{name!r}: an identity's name is one line of UTF-8; rename the folder")
            files, others = _image_names(source / name)
            found, ignored = found + len(files), ignored + others
            for file in files:
                yield ImageFile(name, f"{name}/{file}", (source / name / file).stat().st_size)
        if not found:
            raise DataError(_why_empty(source, folders))
        if ignored:
            say(f"{source}: files ignored, since their names do not end like those of images: {ignored:,}")
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error


def count_images(source: Path) -> int:
    """How many images `all_images` will find: without looking at each, for progress.

    Raises:
        DataError: a folder cannot be read.
    """
    try:
        return sum(len(_image_names(source / name)[0]) for name in folders_in(source))
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error


def folders_in(source: Path) -> list[str]:
    """Names of the folders that are not hidden, sorted.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(source) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _image_names(folder: Path) -> tuple[list[str], int]:
    """Names of the image files in a folder, sorted, and the number of other files."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    images = sorted(name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES)
    return images, len(names) - len(images)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _why_empty(source: Path, folders: list[str]) -> str:
    if not folders:
        return f"{source} has no folders; SRC holds one folder of images per identity"
    for name in folders:
        if folders_in(source / name):
            return f"the folders in {source} hold folders, not images; perhaps {source / name} is the one to give?"
    return f"the folders in {source} hold no images ({', '.join(sorted(SUFFIXES))})"
