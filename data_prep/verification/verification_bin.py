"""`bin`: a verification set from one of insightface's files (LFW, CFP-FP, AgeDB-30, CALFW, CPLFW).

Such a file is a pickle of a list of images and a list of bools: images 2i and 2i + 1 are a pair, of one person where
bool i is true. Its folds are ten runs of pairs as even as can be, which is what an unshuffled `KFold(10)` makes of it.

Source: insightface, recognition/arcface_torch/eval/verification.py. Shapes: P pairs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.images import to_jpeg
from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import fingerprint
from data_prep.passes.source import Face
from data_prep.passes.writer import write_dataset
from data_prep.verification.data_pickle import read_data_pickle
from data_prep.verification.pairs import pairs_csv
from data_prep.verification.pickled_arrays import Array
from lightning_face.data.manifest import PAIRS_FILE, Manifest
from lightning_face.errors import DataError

FOLDS = 10


@dataclass(frozen=True, slots=True)
class PairImage:
    """An image of the file: its place in the list, its person, and its bytes."""

    number: int
    identity: str
    data: bytes

    def __str__(self) -> str:
        return f"image {self.number}"

    def __repr__(self) -> str:
        return f"{self} {self.identity} {hashlib.sha256(self.data).hexdigest()}"


@dataclass(frozen=True)
class PairImages:
    """The images of the file, in its order.

    Args:
        file: insightface's.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
    """

    file: Path
    size: int
    quality: int

    def items(self) -> Iterator[PairImage]:
        """The images. The file names nobody: a person is known by the number of the first image.

        Raises:
            DataError: it is missing, damaged, or holds anything else.
        """
        images, same_P = read_bin(self.file)
        for number, data in enumerate(images):
            first = number - (number % 2 and same_P[number // 2])
            yield PairImage(number, f"{first:0{len(str(len(images)))}}", data)

    def make(self, item: PairImage) -> Face:
        """The face of an image.

        Raises:
            RejectedImage: it cannot be decoded.
        """
        return Face(item.identity, to_jpeg(item.data, self.size, self.quality))


def make_bin(file: Path, out: Path, *, size: int, quality: int, shard_samples: int, workers: int) -> Manifest | None:
    """Write the verification set `out`.

    Args:
        file: insightface's.
        out: folder to write.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
        shard_samples: images in a shard, at most.
        workers: processes.

    Raises:
        DataError: the file is missing, damaged or something else, or an image is damaged.
        ConfigError: `out` was begun with other options.
    """
    _, same_P = read_bin(file)
    fold_P = _folds(file, same_P)
    rows = ((2 * pair, 2 * pair + 1, int(same), fold_P[pair]) for pair, same in enumerate(same_P))
    return write_dataset(
        out, PairImages(file, size, quality),
        Recipe(shard_samples=shard_samples, shuffle=False, keep_all=True), Job(workers=workers),
        options={"command": "bin", "source": fingerprint(file), "size": size, "quality": quality},
        files={PAIRS_FILE: pairs_csv(rows)},
    )  # fmt: skip


def read_bin(file: Path) -> tuple[list[bytes], list[bool]]:
    """Images, two of each pair, and whether a pair shows one person.

    Raises:
        DataError: it is missing, damaged, or holds anything else; nothing in it is run.
    """
    try:
        held: Any = read_data_pickle(file.read_bytes())
        images, same = held
        same_P = [bool(value) for value in (same.data if isinstance(same, Array) else same)]
        if not same_P or len(images) != 2 * len(same_P):
            raise ValueError(f"{len(images)} images for {len(same_P)} pairs")
        return [_bytes(number, image) for number, image in enumerate(images)], same_P
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{file} is no verification set of insightface, a pickle of images and bools: {error};"
            " copy or download it again"
        ) from error


def _bytes(number: int, image: object) -> bytes:
    if isinstance(image, Array) and image.shape == (len(image.data),):
        return image.data
    if not isinstance(image, bytes):
        raise ValueError(f"image {number} is no image file but {str(image)[:40]}")
    return image


def _folds(file: Path, same_P: Sequence[bool]) -> list[int]:
    """Fold of each pair, from 0."""
    for fold, of_fold in enumerate(np.array_split(np.array(same_P), FOLDS)):
        if not 0 < of_fold.sum() < len(of_fold):
            raise DataError(
                f"{file}: fold {fold} of {FOLDS}, {len(of_fold)} of the {len(same_P)} pairs, lacks pairs of one person"
                " or pairs of two; evaluation needs both in each"
            )
    return [fold for fold, pairs in enumerate(np.array_split(same_P, FOLDS)) for _ in pairs]
