"""`msceleb1m`: MS-Celeb-1M as it was released, a line of a table for each face.

    MID <tab> rank <tab> image URL <tab> page URL <tab> face id <tab> base64 rectangle <tab> base64 JPEG

Source: Guo et al., MS-Celeb-1M: A dataset and benchmark for large-scale face recognition (ECCV 2016), and its readme.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.images import RejectedImage, to_jpeg
from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import fingerprint
from data_prep.passes.source import Face
from data_prep.passes.writer import write_dataset
from data_prep.progress import say
from data_prep.sources.identity_names import identity_name
from data_prep.sources.msceleb1m_lists import CleanList, read_clean_list, read_names
from data_prep.sources.tsv_lines import MAX_LINE_BYTES, STANDARD_INPUT, Line, read_lines_of
from lightning_face.data.manifest import Manifest

COLUMNS = 7


@dataclass(frozen=True, slots=True)
class FaceLine:
    """What is needed of a line: where it stands, who is shown, the image in base64, or why there is none."""

    where: str
    identity: str
    base64: bytes
    problem: str = ""

    def __str__(self) -> str:
        return self.where

    def __repr__(self) -> str:
        return f"{self.where} {self.identity} {hashlib.sha256(self.base64).hexdigest()} {self.problem}"


@dataclass(frozen=True)
class MsCeleb1M:
    """The faces of the table, read line by line.

    Args:
        table: a file, plain or gzipped, a folder of them, or `-` for standard input.
        clean_list: of the images to take and whom they show; None takes all, each for whom it was searched for.
        names: of MIDs; None leaves the MIDs.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
    """

    table: Path
    clean_list: Path | None
    names: Path | None
    size: int
    quality: int

    def items(self) -> Iterator[FaceLine]:
        """Lines with a listed image, and damaged ones.

        Raises:
            DataError: table or lists cannot be read, or are something else.
        """
        clean = read_clean_list(self.clean_list) if self.clean_list else None
        names = read_names(self.names) if self.names else {}
        not_listed = 0
        for line in read_lines_of(self.table):
            if line.text == b"":
                continue
            face = _face(line, clean, names)
            if face is None:
                not_listed += 1
            else:
                yield face
        if not_listed:
            say(f"{self.table}: {not_listed:,} images are not in {self.clean_list}")

    def make(self, item: FaceLine) -> Face:
        """The face of a line.

        Raises:
            RejectedImage: the line or its image is damaged.
        """
        if item.problem:
            raise RejectedImage(item.problem)
        try:
            image = base64.b64decode(item.base64, validate=True)
        except binascii.Error as error:
            raise RejectedImage(f"broken base64: {error}") from error
        return Face(item.identity, to_jpeg(image, self.size, self.quality))


def _face(line: Line, clean: CleanList | None, names: dict[str, str]) -> FaceLine | None:
    """What is needed of a line; None if its image is not in the list."""
    where = f"{line.file} line {line.number}"
    if line.text is None:
        return FaceLine(where, "", b"", f"the line is longer than {MAX_LINE_BYTES:,} bytes")
    columns = line.text.split(b"\t")
    if len(columns) != COLUMNS:
        return FaceLine(where, "", b"", f"the line has {len(columns)} columns, not {COLUMNS}")
    mid, rank, _, _, face_id, _, image = columns
    try:
        identity: str | None = identity_name(mid)
    except RejectedImage as reason:
        return FaceLine(where, "", b"", str(reason))
    if clean is not None:
        # As everybody names the files that are unpacked from the table.
        identity = clean.identity(b"%s/%s-%s.jpg" % (mid, rank, face_id))
    return None if identity is None else FaceLine(where, names.get(identity, identity), image)


def make_msceleb1m(
    table: Path, out: Path, *, clean_list: Path | None, names: Path | None, size: int, quality: int, recipe: Recipe,
    job: Job,
) -> Manifest | None:  # fmt: skip
    """Write the dataset `out`; the other arguments are those of `MsCeleb1M` and of `write_dataset`.

    Raises:
        DataError: table or lists cannot be read or are something else, or `out` cannot be written.
        ConfigError: `out` was begun with other options.
    """
    return write_dataset(
        out, MsCeleb1M(table, clean_list, names, size, quality), recipe, job,
        options={
            "command": "msceleb1m", "source": "-" if table == STANDARD_INPUT else os.path.realpath(table),
            "clean_list": fingerprint(clean_list), "names": fingerprint(names), "size": size, "quality": quality,
        },
    )  # fmt: skip
