"""The spool: gathered faces, end to end in one file for each chunk of the source, and what is known of them."""

import base64
import hashlib
import json
import os
import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_face.errors import DataError
from lightning_face.files import write_atomically

CHUNK_ITEMS = 1024
"""Items of a source that are gathered together: seconds of work to lose, some 20 MB of a stream to hand to a worker."""

_CHUNKS_AT_HAND = 64
_MOST_OPEN = 16_384
"""Files of the spool that a process keeps open, if it may: to open one on a network costs more than to read a face."""

_OTHER_FILES = 256

FACE_DTYPE = np.dtype(
    [("place", "<u4"), ("identity", "<u4"), ("size", "<u4"), ("digest", "<u8", (2,)), ("perceptual", "<u8")]
)
"""A gathered face: its item's place in the chunk, the line of its identity, number of bytes, their BLAKE2b, and its
perceptual hash, 0 unless it was asked for."""


@dataclass(frozen=True)
class Spooled:
    """What is known of one chunk.

    Args:
        items_sha256: of its items: another one means that the source has changed.
        items: what the user knows each by.
        identities: names of the people in it.
        faces: FACE_DTYPE, in the order of the items and of the bytes.
        rejected: reason of each item that is no face, by its place.
    """

    items_sha256: str
    items: Sequence[str]
    identities: Sequence[str]
    faces: NDArray[np.void]
    rejected: Mapping[int, str]

    def write(self, path: Path) -> None:
        """Write it atomically."""
        fields = {**vars(self), "faces": base64.b64encode(self.faces.tobytes()).decode()}
        write_atomically(path, json.dumps(fields).encode())

    @staticmethod
    def read(path: Path) -> "Spooled":
        """Read it back.

        Raises:
            OSError: it is missing.
            ValueError, KeyError, TypeError: it is no such file.
        """
        fields = json.loads(path.read_text())
        faces = np.frombuffer(base64.b64decode(fields.pop("faces")), dtype=FACE_DTYPE)
        rejected = {int(place): reason for place, reason in fields.pop("rejected").items()}
        return Spooled(**fields, faces=faces, rejected=rejected)


def chunks_of(num_items: int) -> range:
    """Numbers of the chunks that so many items are cut into."""
    return range(-(-num_items // CHUNK_ITEMS))


def faces_path(work: Path, chunk: int) -> Path:
    """Where the bytes of a chunk's faces lie, in the folder of unfinished work."""
    return work / f"chunk-{chunk:06d}.faces"


def spooled_path(work: Path, chunk: int) -> Path:
    """Where it says what is known of them."""
    return work / f"chunk-{chunk:06d}.json"


def read_spooled(work: Path, chunk: int) -> Spooled:
    """What is known of a chunk that was gathered.

    Raises:
        DataError: it is damaged or lost.
    """
    try:
        return Spooled.read(spooled_path(work, chunk))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(work, spooled_path(work, chunk)) from error


class FaceReader:
    """Reads gathered faces from anywhere, from files that stay open; close it.

    Args:
        work: folder of unfinished work.
    """

    def __init__(self, work: Path) -> None:
        self._work, self._descriptors, self._most_open = work, dict[int, int](), _may_be_open()

    def __reduce__(self) -> tuple[type["FaceReader"], tuple[Path]]:
        """Another process opens files of its own."""
        return FaceReader, (self._work,)

    def read(self, chunk: int, offset: int, size: int) -> bytes:
        """Bytes of a face.

        Raises:
            DataError: they are lost.
        """
        if chunk not in self._descriptors:
            self._open(chunk)
        data = os.pread(self._descriptors[chunk], size, offset)
        if len(data) != size:
            raise _damaged(self._work, faces_path(self._work, chunk))
        return data

    def close(self) -> None:
        """Close all files."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _open(self, chunk: int) -> None:
        if len(self._descriptors) == self._most_open:
            self.close()
        path = faces_path(self._work, chunk)
        try:
            self._descriptors[chunk] = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise _damaged(self._work, path) from error


def _may_be_open() -> int:
    """How many files of the spool this process may keep open; asks for as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_OPEN + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST_OPEN
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, allowed - _OTHER_FILES)


class SourceNames:
    """What the user knows an item by, from its number; some chunks are kept at hand, since neighbours are asked for."""

    def __init__(self, work: Path) -> None:
        self._of_chunk = lru_cache(_CHUNKS_AT_HAND)(lambda chunk: read_spooled(work, chunk).items)

    def __getitem__(self, number: int) -> str:
        chunk, place = divmod(number, CHUNK_ITEMS)
        return self._of_chunk(chunk)[place]


def _damaged(work: Path, path: Path) -> DataError:
    return DataError(f"{path} is missing or damaged; remove {work.parent} and start again")


def digest_of(jpeg: bytes) -> NDArray[np.uint64]:
    """What two faces share only if they have the same bytes: 128 bits."""
    return np.frombuffer(hashlib.blake2b(jpeg, digest_size=16).digest(), dtype="<u8")


def sha256_of_items(items: Iterable[object]) -> str:
    """Digest of what tells items from others."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item!r}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()
