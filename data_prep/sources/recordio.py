"""RecordIO as MXNet packs images in it: records in a file, each with labels before its image, and an index beside it.

    record   magic, length (3 bits of it say which part of the data follows), data, zeros up to a multiple of 4
    data     flag, label, two ids; `flag` more labels; the image
    index    KEY<tab>OFFSET of each record

Sources: dmlc-core, include/dmlc/recordio.h; MXNet, python/mxnet/recordio.py. Shapes: N records, L labels.
"""

import os
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.images import RejectedImage
from lightning_face.errors import DataError

MAGIC = struct.pack("<I", 0xCED7230A)

_LENGTH_BITS = 29
_WHOLE, _BEGIN, _MIDDLE, _END = range(4)
_HEAD = struct.Struct("<4sI")
_IMAGE_HEADER = struct.Struct("<IfQQ")


class Record(NamedTuple):
    """Labels and image of a record; no image in those that describe the set."""

    labels_L: NDArray[np.float32]
    image: bytes


def read_record(path: Path, offset: int) -> Record:
    """A record.

    Args:
        path: of the records.
        offset: byte where it begins.

    Raises:
        RejectedImage: there is none, or it is cut short or damaged.
    """
    try:
        data = _read_data(_descriptor(path), offset)
    except OSError as error:
        raise RejectedImage(f"cannot be read: {error.strerror}") from error
    if len(data) < _IMAGE_HEADER.size:
        raise RejectedImage(f"the record at byte {offset} is too short for the header of an image")
    flag, label, _, _ = _IMAGE_HEADER.unpack_from(data)
    if flag == 0:
        return Record(np.array([label], dtype=np.float32), data[_IMAGE_HEADER.size :])
    begin = _IMAGE_HEADER.size + 4 * flag
    if len(data) < begin:
        raise RejectedImage(f"the record at byte {offset} is too short for the {flag} labels that it announces")
    return Record(np.frombuffer(data, "<f4", flag, _IMAGE_HEADER.size), data[begin:])


def _read_data(file: int, offset: int) -> bytes:
    parts: list[bytes] = []
    at = offset
    while True:
        head = os.pread(file, _HEAD.size, at)
        if len(head) < _HEAD.size:
            raise RejectedImage(f"the file ends at byte {at + len(head)}, in the record at byte {offset}")
        magic, word = _HEAD.unpack(head)
        part, length = word >> _LENGTH_BITS, word & (1 << _LENGTH_BITS) - 1
        if magic != MAGIC or part not in ((_MIDDLE, _END) if parts else (_WHOLE, _BEGIN)):
            raise RejectedImage(f"no record begins at byte {at}")
        data = os.pread(file, length, at + _HEAD.size)
        if len(data) < length:
            raise RejectedImage(f"the file ends at byte {at + _HEAD.size + len(data)}, in the record at byte {offset}")
        parts.append(data)
        if part in (_WHOLE, _END):
            # The writer cuts data where it holds the magic number itself, and leaves that out.
            return MAGIC.join(parts)
        at += _HEAD.size + length + -length % 4


@cache
def _descriptor(path: Path) -> int:
    # Open as long as the process lives: opening it for each record costs a round trip on a network file system.
    return os.open(path, os.O_RDONLY)


def read_index(path: Path) -> NDArray[np.int64]:
    """Keys and offsets (N, 2) of an index, in its order.

    Raises:
        DataError: it is missing, empty or no index.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is met below
            index_N2 = np.loadtxt(path, dtype=np.int64, comments=None, ndmin=2)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is no index, with KEY<tab>OFFSET in each line: {error}") from error
    if index_N2.shape[1:] != (2,) or not len(index_N2) or index_N2.min() < 0 or (index_N2[:, 1] % 4).any():
        raise DataError(f"{path} is no index: it needs KEY<tab>OFFSET in each line, offsets being multiples of 4")
    return index_N2
