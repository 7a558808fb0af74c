"""`folder`: a dataset from images in one folder per identity, as LFW, CASIA-WebFace and VGGFace2 come."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.images import to_jpeg
from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import fingerprint
from data_prep.passes.source import Face, Source
from data_prep.passes.writer import write_dataset
from data_prep.sources.listing import ImageFile, all_images, count_images, listed_images, must_lie_apart
from data_prep.sources.people import read_people
from lightning_face.data.manifest import Manifest
from lightning_face.errors import ConfigError, DataError


@dataclass(frozen=True)
class ImageReader:
    """Makes a face of an image file: a JPEG of the wanted size and, where it must be encoded, quality."""

    root: Path
    size: int
    quality: int

    def make(self, image: ImageFile) -> Face:
        """The face.

        Raises:
            OSError: it cannot be read.
            RejectedImage: it cannot be decoded.
        """
        return Face(image.identity, to_jpeg((self.root / image.path).read_bytes(), self.size, self.quality))


@dataclass(frozen=True)
class Folder(ImageReader):
    """All images in a folder of folders, in the order of their names."""

    def items(self) -> Iterator[ImageFile]:
        """The images.

        Raises:
            DataError: there are none, or a folder cannot be read.
        """
        return all_images(self.root)

    def __len__(self) -> int:
        return count_images(self.root)


@dataclass(frozen=True)
class ListedImages(ImageReader):
    """Images in a folder of folders that a list names."""

    images: Sequence[ImageFile]

    def items(self) -> Iterator[ImageFile]:
        """The images."""
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


def make_folder(
    source: Path, out: Path, *, people: Path | None, without_fold: int | None, size: int, quality: int, recipe: Recipe,
    job: Job,
) -> Manifest | None:  # fmt: skip
    """Write the dataset `out`.

    Args:
        source: folder of folders of images.
        out: folder to write.
        people: LFW's list of the identities and how many images of each to take; None takes all.
        without_fold: fold of that list to leave out, from 0; None keeps all.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
        recipe: who is kept, and how samples lie in shards.
        job: how to go about it.

    Returns:
        What it holds; None if other parts are not merged yet.

    Raises:
        DataError: the source holds no such folders, or lacks what the list names.
        ConfigError: `out` lies in the source, or was begun with other options.
    """
    if not os.path.isdir(source):
        raise DataError(f"{source} is missing or no folder; SRC holds one folder of images per identity")
    must_lie_apart(source, out)
    if people is None and without_fold is not None:
        raise ConfigError("--without-fold has no effect without --people FILE")
    images: Source[ImageFile] = Folder(source, size, quality)
    if people is not None:
        listed = sorted(read_people(people, without_fold), key=lambda person: person.name)
        images = ListedImages(source, size, quality, listed_images(source, people, listed))
    return write_dataset(
        out, images, recipe, job,
        options={
            "command": "folder", "source": os.path.realpath(source), "people": fingerprint(people),
            "without_fold": without_fold, "size": size, "quality": quality,
        },
    )  # fmt: skip
