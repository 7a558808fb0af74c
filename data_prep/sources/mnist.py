"""`mnist`: a training set and a test set of handwritten digits, from the four IDX files that they are distributed in.

An IDX file is a magic number, the length of each dimension, and bytes; all numbers are big-endian.

Source: LeCun et al., "The MNIST database of handwritten digits". Shapes: N digits, H x W pixels.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.images import encode_jpeg
from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import fingerprint
from data_prep.passes.source import Face
from data_prep.passes.writer import write_dataset
from lightning_face.errors import DataError

SETS = {"train": "train", "test": "t10k"}
"""Folder of each set, and what the names of its files begin with."""

JPEG_QUALITY = 100
"""Where a pixel of the test set is off by 2 of 255 at most, and by 0.03 on average."""

_UNSIGNED_BYTES = 0x0800


@dataclass(frozen=True, slots=True)
class Digit:
    """A picture of the file: its number, what it shows, and its pixels."""

    number: int
    label: int
    pixels_HW: NDArray[np.uint8]

    def __str__(self) -> str:
        return f"digit {self.number}"

    def __repr__(self) -> str:
        return f"{self} {self.label} {hashlib.sha256(self.pixels_HW.tobytes()).hexdigest()}"


@dataclass(frozen=True)
class Digits:
    """The pictures of a set, in their order.

    Args:
        images: IDX file of pixels, plain or gzipped.
        labels: IDX file of what they show.
    """

    images: Path
    labels: Path

    def items(self) -> Iterator[Digit]:
        """The pictures.

        Raises:
            DataError: a file is missing, damaged, something else, or of another set than the other.
        """
        images_NHW, labels_N = read_idx(self.images, dimensions=3), read_idx(self.labels, dimensions=1)
        if len(images_NHW) != len(labels_N):
            raise DataError(
                f"{self.images} has {len(images_NHW):,} pictures, {self.labels} {len(labels_N):,} labels:"
                " they belong to different sets"
            )
        for number, (pixels_HW, label) in enumerate(zip(images_NHW, labels_N, strict=True)):
            yield Digit(number, int(label), pixels_HW)

    def make(self, item: Digit) -> Face:
        """The picture as a grey JPEG; classes are digit_0 to digit_9, since mere numbers are no names."""
        return Face(f"digit_{item.label}", encode_jpeg(item.pixels_HW, JPEG_QUALITY))


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of bytes.

    Args:
        path: plain or gzipped.
        dimensions: how many it must have.

    Raises:
        DataError: it is missing, damaged, or holds anything else.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", data)
        begin = 4 * (1 + dimensions)
        if magic != _UNSIGNED_BYTES + dimensions or len(data) != begin + math.prod(shape):
            raise ValueError(f"magic number {magic}, lengths {shape}, {len(data):,} bytes")
        return np.frombuffer(data, np.uint8, offset=begin).reshape(shape)
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, struct.error, zlib.error) as error:
        raise DataError(
            f"{path} is no IDX file of bytes in {dimensions} dimension(s), or damaged ({error}); download it again"
        ) from error


def make_mnist(idx: Path, out: Path, *, seed: int, shard_samples: int, workers: int) -> None:
    """Write the datasets `out/train` and `out/test`.

    Args:
        idx: folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte, each plain or with .gz.
        out: folder of the two.
        seed: of the order of the training set.
        shard_samples: images in a shard, at most.
        workers: processes.

    Raises:
        DataError: a file is missing, damaged or something else, or `out` cannot be written.
        ConfigError: `out` was begun with other options.
    """
    for folder, name in SETS.items():
        source = Digits(_found(idx, f"{name}-images-idx3-ubyte"), _found(idx, f"{name}-labels-idx1-ubyte"))
        recipe = Recipe(seed=seed, shard_samples=shard_samples, shuffle=folder == "train", keep_all=True)
        options = {"command": "mnist", "source": fingerprint(source.images), "labels": fingerprint(source.labels)}
        write_dataset(out / folder, source, recipe, Job(workers=workers), options=options)


def _found(idx: Path, name: str) -> Path:
    for path in (idx / name, idx / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{idx} has no {name}, nor {name}.gz; IDX is the folder with the four files of MNIST")
