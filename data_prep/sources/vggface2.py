"""`vggface2`: VGGFace2 as it is distributed, a folder or a `.tar.gz` of loosely cropped photographs, cropped to faces.

Source: Cao et al., VGGFace2: A dataset for recognising faces across pose and age (FG 2018), and its readme.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.alignment import align_to_box, align_to_landmarks
from data_prep.images import RejectedImage, check_length, encode_jpeg, to_jpeg, to_pixels
from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import fingerprint
from data_prep.passes.source import Face
from data_prep.passes.writer import write_dataset
from data_prep.progress import say
from data_prep.sources.archive import images_in
from data_prep.sources.identity_names import identity_name
from data_prep.sources.listing import all_images, must_lie_apart
from data_prep.sources.name_table import NameTable
from data_prep.sources.vggface2_tables import (
    BOX_NUMBERS,
    LANDMARK_NUMBERS,
    read_identity_names,
    read_image_list,
    read_places,
)
from lightning_face.data.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Photograph:
    """An image: whose, its path as FOLDER/IMAGE.jpg, its length, where the face is, and its bytes if read already.

    `place` holds five landmarks (x, y), or a box (x, y, width, height), or nothing.
    """

    identity: str
    path: str
    size: int
    place: tuple[float, ...]
    data: bytes | None

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        contents = self.size if self.data is None else hashlib.sha256(self.data).hexdigest()
        return f"{self.identity} {self.path} {contents} {self.place}"


@dataclass(frozen=True)
class VGGFace2:
    """The images of a folder of folders, or of an archive of one.

    Args:
        source: folder or archive.
        landmarks: table of five points in each image, to align it by; None for none.
        boxes: table of a box in each image, to crop those by that have no landmarks; None for none. Without both tables
            the middle of each image is taken.
        margin: by how much a crop is larger than its box.
        image_list: of those to take; None takes all.
        names: of people, by the name of their folder; None leaves that.
        size: of the faces, pixels.
        quality: of the JPEGs.
    """

    source: Path
    landmarks: Path | None
    boxes: Path | None
    margin: float
    image_list: Path | None
    names: Path | None
    size: int
    quality: int

    def items(self) -> Iterator[Photograph]:
        """The photographs that are listed, in the order of the archive, or of the names in a folder.

        Raises:
            DataError: source or tables cannot be read, or are something else.
        """
        tables = ((self.landmarks, LANDMARK_NUMBERS), (self.boxes, BOX_NUMBERS))
        places = [read_places(path, numbers) for path, numbers in tables if path]
        listed = read_image_list(self.image_list) if self.image_list else None
        names = read_identity_names(self.names) if self.names else {}
        not_listed = 0
        for folder, path, size, data in self._images():
            if listed is None or listed.find(os.fsencode(path)) is not None:
                yield Photograph(names.get(folder, folder), path, size, _place(path, places), data)
            else:
                not_listed += 1
        if not_listed:
            say(f"{self.source}: {not_listed:,} images are not in {self.image_list}")

    def make(self, item: Photograph) -> Face:
        """The face in a photograph.

        Raises:
            OSError: it cannot be read.
            RejectedImage: it cannot be decoded, nobody knows where the face is, or whose it is.
        """
        identity = identity_name(os.fsencode(item.identity))
        check_length(item.size)
        data = (self.source / item.path).read_bytes() if item.data is None else item.data
        if len(item.place) == LANDMARK_NUMBERS:
            face_SS3 = align_to_landmarks(to_pixels(data), item.place, self.size)
        elif len(item.place) == BOX_NUMBERS:
            face_SS3 = align_to_box(to_pixels(data), item.place, self.margin, self.size)
        elif self.landmarks or self.boxes:
            raise RejectedImage("no table has its face")
        else:
            return Face(identity, to_jpeg(data, self.size, self.quality))
        return Face(identity, encode_jpeg(face_SS3, self.quality))

    def _images(self) -> Iterator[tuple[str, str, int, bytes | None]]:
        """Folder, path, length and, from an archive, bytes."""
        if os.path.isdir(self.source):
            for file in all_images(self.source):
                yield file.identity, file.path, file.bytes, None
        else:
            for image in images_in(self.source):
                yield image.folder, f"{image.folder}/{image.name}", image.size, image.data


def _place(path: str, tables: Sequence[NameTable]) -> tuple[float, ...]:
    """What the first of the tables that has an image says of it."""
    name = os.fsencode(os.path.splitext(path)[0])
    found = (table.find(name) for table in tables)
    return next((tuple(numbers_C.tolist()) for numbers_C in found if numbers_C is not None), ())


def make_vggface2(
    source: Path, out: Path, *, landmarks: Path | None, boxes: Path | None, margin: float, image_list: Path | None,
    names: Path | None, size: int, quality: int, recipe: Recipe, job: Job,
) -> Manifest | None:  # fmt: skip
    """Write the dataset `out`; the other arguments are those of `VGGFace2`, `recipe` and `job` of `write_dataset`.

    Raises:
        DataError: the source cannot be read or is something else, or `out` cannot be written.
        ConfigError: `out` lies in the source, or was begun with other options.
    """
    must_lie_apart(source, out)
    return write_dataset(
        out, VGGFace2(source, landmarks, boxes, margin, image_list, names, size, quality), recipe, job,
        options={
            "command": "vggface2", "source": os.path.realpath(source), "landmarks": fingerprint(landmarks),
            "boxes": fingerprint(boxes), "margin": margin, "image_list": fingerprint(image_list),
            "names": fingerprint(names), "size": size, "quality": quality,
        },
    )  # fmt: skip
