"""Which image files a folder of folders holds, all of them or those that a list names."""

import os
from pathlib import Path

from data_prep.images import SUFFIXES
from data_prep.people import Person
from data_prep.progress import progress, say
from lightning_face.errors import DataError

Images = dict[str, list[tuple[str, int]]]
"""Path below the source, and length in bytes, of the images of each identity."""


def numbered_image(source: Path, name: str, number: int, where: str) -> tuple[str, int]:
    """Path below the source, and length, of LFW's image `number` of `name`.

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
        return path, (source / path).stat().st_size
    except OSError as error:
        missing = source / path if (source / name).is_dir() else source / name
        raise DataError(f"{where} names {missing}, which is missing ({error.strerror})") from error


def listed_images(source: Path, people: Path, listed: list[Person]) -> Images:
    """The images that a list of people names.

    Args:
        source: folder of folders.
        people: where the list lies, for errors.
        listed: its lines.

    Raises:
        DataError: an identity or image is missing.
    """
    return {
        person.name: [
            numbered_image(source, person.name, number, f"{people} line {person.line}")
            for number in range(1, person.images + 1)
        ]
        for person in listed
    }


def all_images(source: Path) -> Images:
    """Every image in the folders of `source`, by what its name ends with; hidden files and folders are left alone.

    Raises:
        DataError: there are none, a folder cannot be read, or its name cannot be an identity's.
    """
    try:
        folders = _folders(source)
        found: Images = {}
        ignored = 0
        with progress(f"listing {source}", len(folders)) as show:
            for number, name in enumerate(folders, 1):
                images, others = _images_of(source, name)
                ignored += others
                if images:
                    found[name] = images
                show(number)
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
    if not found:
        raise DataError(_why_empty(source, folders))
    if ignored:
        say(f"{source}: files ignored, since their names do not end like those of images: {ignored:,}")
    return found


def _folders(source: Path) -> list[str]:
    with os.scandir(source) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _images_of(source: Path, name: str) -> tuple[list[tuple[str, int]], int]:
    """The image files of an identity, sorted, and the number of other files."""
    if len(name.splitlines()) != 1 or not _is_utf8(name):
        raise DataError(f"{source}/{name!r}: an identity's name is one line of UTF-8; rename the folder")
    images, others = [], 0
    with os.scandir(source / name) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_file():
                continue
            if os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                images.append((f"{name}/{entry.name}", entry.stat().st_size))
            else:
                others += 1
    return sorted(images), others


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
        if _folders(source / name):
            return f"the folders in {source} hold folders, not images; perhaps {source / name} is the one to give?"
    return f"the folders in {source} hold no images ({', '.join(sorted(SUFFIXES))})"
