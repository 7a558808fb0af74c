"""`recordio`: the training sets of insightface (MS1MV2, MS1MV3, Glint360K, WebFace): `train.rec` and its companions."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.images import RejectedImage, to_jpeg
from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.source import Face
from data_prep.passes.writer import write_dataset
from data_prep.sources.people import read_lines, whole_number
from data_prep.sources.recordio import Record, read_index, read_record
from lightning_face.data.manifest import Manifest
from lightning_face.errors import DataError

HEADER_KEY = 0


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """A record of an image: its key in the index, and the byte where it begins."""

    key: int
    offset: int

    def __str__(self) -> str:
        return f"record {self.key}"


@dataclass(frozen=True)
class InsightfaceSet:
    """The images of such a set; an identity's name is its label, led by zeros so that names sort as labels do.

    Args:
        folder: with the three files.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
    """

    folder: Path
    size: int
    quality: int

    def items(self) -> Iterator[RecordPlace]:
        """The records of images, in the order of the index.

        Raises:
            DataError: a file is missing or not what it should be, or the index is not that of the records.
        """
        for path in (self._records, self._index, self._property):
            if not os.path.isfile(path):
                raise DataError(f"{path} is missing; the folder must hold train.rec, train.idx and property")
        index_N2 = read_index(self._index)
        index_N2 = index_N2[self._is_image(index_N2)]
        if not len(index_N2):
            raise DataError(f"{self._records} holds no images, going by the first record; copy or download it again")
        _ = self._num_classes  # read here, so that what is wrong with it is not said by each worker
        for key, offset in index_N2:
            yield RecordPlace(int(key), int(offset))

    def make(self, item: RecordPlace) -> Face:
        """The face of a record.

        Raises:
            RejectedImage: the record or its image is damaged, or its label none of the set's.
        """
        labels_L, image = read_record(self._records, item.offset)
        label, last = labels_L.item(0), self._num_classes - 1
        if not (0 <= label <= last and label.is_integer()):
            raise RejectedImage(f"label {label:g} is none of 0 to {last}, which `property` tells of")
        return Face(f"{int(label):0{len(str(last))}}", to_jpeg(image, self.size, self.quality))

    def _is_image(self, index_N2: NDArray[np.int64]) -> NDArray[np.bool_]:
        keys_N, offsets_N = index_N2.T
        # Of a file that was cut short, or has another's index, the last record shows it.
        self._described(index_N2[offsets_N.argmax()])
        if HEADER_KEY not in keys_N:
            raise DataError(f"{self._index} has no record {HEADER_KEY}, which tells what the others are; copy it again")
        header = self._described(index_N2[(keys_N == HEADER_KEY).argmax()])
        # Without a header all records are images. With one, the records from its label on describe identities.
        is_image_N: NDArray[np.bool_] = (keys_N != HEADER_KEY) & (keys_N < header.labels_L[0]) | bool(header.image)
        return is_image_N

    def _described(self, row_2: NDArray[np.int64]) -> Record:
        """The record at a row of the index, which must be there."""
        try:
            return read_record(self._records, int(row_2[1]))
        except RejectedImage as reason:
            raise DataError(
                f"{self._records}: {reason}, where {self._index.name} has record {row_2[0]}; the file is cut short or"
                " the index another's: copy or download both again"
            ) from reason

    @cached_property
    def _num_classes(self) -> int:
        fields = read_lines(self._property)[0].split(",")
        num_classes = whole_number(fields[0].strip())
        if num_classes is None:
            raise DataError(f"{self._property} line 1: expected CLASSES,HEIGHT,WIDTH, found {','.join(fields)[:80]!r}")
        return num_classes

    @cached_property
    def _records(self) -> Path:
        return self.folder / "train.rec"

    @cached_property
    def _index(self) -> Path:
        return self.folder / "train.idx"

    @cached_property
    def _property(self) -> Path:
        return self.folder / "property"


def make_recordio(source: Path, out: Path, *, size: int, quality: int, recipe: Recipe, job: Job) -> Manifest | None:
    """Write the dataset `out`; the other arguments are those of `InsightfaceSet` and of `write_dataset`.

    Raises:
        DataError: the source cannot be read or is something else, or `out` cannot be written.
        ConfigError: `out` was begun with other options.
    """
    return write_dataset(
        out, InsightfaceSet(source, size, quality), recipe, job,
        options={"command": "recordio", "source": os.path.realpath(source), "size": size, "quality": quality},
    )  # fmt: skip
