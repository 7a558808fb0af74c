"""`lists`: a dataset from images and who is on them, a line each, wherever the images lie below a folder."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.images import RejectedImage, check_length, to_jpeg
from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import fingerprint
from data_prep.passes.source import Face
from data_prep.passes.writer import write_dataset
from data_prep.sources.identity_names import identity_name
from lightning_face.data.manifest import Manifest
from lightning_face.errors import DataError


@dataclass(frozen=True, slots=True)
class ListedImage:
    """A line of the list: its number, path and identity; the length of the file, or why it cannot be used."""

    line: int
    path: str
    identity: str
    size: int = 0
    problem: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}"


@dataclass(frozen=True)
class ImageList:
    """The images of a list with PATH<tab>IDENTITY in each line, or PATH IDENTITY with a blank and no tab.

    Args:
        file: the list; UTF-8, but for the paths.
        root: folder that paths begin in, and do not leave.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
    """

    file: Path
    root: Path
    size: int
    quality: int

    def items(self) -> Iterator[ListedImage]:
        """The lines that are not blank, in their order.

        Raises:
            DataError: the list or the folder cannot be read.
        """
        try:
            os.stat(os.path.join(self.root, "."))  # asks for the right to enter it, too
        except OSError as error:
            raise DataError(
                f"cannot enter {self.root}: {error.strerror}; --root is the folder that paths in {self.file} begin in"
            ) from error
        try:
            with self.file.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield self._item(number, line.rstrip(b"\r\n"))
        except OSError as error:
            raise DataError(f"cannot read {self.file}: {error.strerror}") from error

    def make(self, item: ListedImage) -> Face:
        """The face of a line.

        Raises:
            OSError: the image cannot be read.
            RejectedImage: the line or the image cannot be used.
        """
        if item.problem:
            raise RejectedImage(item.problem)
        return Face(item.identity, to_jpeg((self.root / item.path).read_bytes(), self.size, self.quality))

    def _item(self, number: int, line: bytes) -> ListedImage:
        separator = b"\t" if b"\t" in line else None
        path, identity = "", ""
        try:
            fields = line.rsplit(separator, 1)
            if len(fields) != 2:
                raise RejectedImage("expected PATH<tab>IDENTITY")
            path = os.fsdecode(fields[0])
            identity = identity_name(fields[1].strip())
            return ListedImage(number, path, identity, self._length(path))
        except RejectedImage as reason:
            return ListedImage(number, path or os.fsdecode(line), identity, problem=str(reason))

    def _length(self, path: str) -> int:
        if ".." in path.split("/") or not (self.root / path).is_relative_to(self.root):
            raise RejectedImage(f"the path leaves {self.root}, the folder given by --root")
        try:
            found = os.stat(self.root / path)
        except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
            raise RejectedImage(f"cannot be read: {getattr(error, 'strerror', error)}") from error
        if not stat.S_ISREG(found.st_mode):
            raise RejectedImage("no regular file")
        check_length(found.st_size)
        return found.st_size


def make_lists(
    file: Path, out: Path, *, root: Path | None, size: int, quality: int, recipe: Recipe, job: Job
) -> Manifest | None:
    """Write the dataset `out`; the other arguments are those of `ImageList` and of `write_dataset`.

    Raises:
        DataError: the list cannot be read or is something else, or `out` cannot be written.
        ConfigError: `out` was begun with other options.
    """
    folder = root or file.parent
    return write_dataset(
        out, ImageList(file, folder, size, quality), recipe, job,
        options={
            "command": "lists", "source": fingerprint(file), "root": os.path.realpath(folder), "size": size,
            "quality": quality,
        },
    )  # fmt: skip
