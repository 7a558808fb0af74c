"""Images in a tar, plain or gzipped, read from its beginning to its end: `.../NAME/IMAGE.jpg`."""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data_prep import tars
from data_prep.images import MAX_FILE_BYTES, SUFFIXES
from lightning_face.errors import DataError

_GZIP = b"\x1f\x8b"
_REST_BYTES = 1 << 20


class ArchivedImage(NamedTuple):
    """An image: the folder it lies in, its name, and its bytes, of which one too long for an image has none."""

    folder: str
    name: str
    size: int
    data: bytes


def images_in(archive: Path) -> Iterator[ArchivedImage]:
    """The images of an archive, in its order; other members are left alone, and nothing is ever unpacked.

    Raises:
        DataError: it cannot be read, is cut short or damaged, or is no such archive.
    """
    try:
        with archive.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if raw.peek(len(_GZIP))[: len(_GZIP)] == _GZIP else raw
            for member in tars.scan(archive, file):
                *_, folder, name = ("", *member.name.split("/"))
                if os.path.splitext(name)[1].lower() not in SUFFIXES or name.startswith("."):
                    continue
                data = file.read(member.size) if member.size <= MAX_FILE_BYTES else b""
                yield ArchivedImage(folder, name, member.size, data)
            while file.read(_REST_BYTES):  # a gzip's checksum stands at its end
                pass
    except (EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{archive} is damaged or cut short: {error}; copy or download it again") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{archive} cannot be read: {reason}; copy or download it again") from error
