"""Files that are whole or absent: written beside, flushed to the disk, then renamed."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write `path` so that a reader, or a run started after a crash, sees the old bytes or the new, never a part.

    The temporary name is fixed, so that a killed run leaves at most one file behind, which the next one replaces: one
    process at a time may write a path.

    Args:
        path: the file to write or replace; its folder exists.
        data: the whole contents, or its pieces.

    Raises:
        OSError: the folder is missing or read-only, or the disk is full; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
        move_into_place(temporary, path)
    except BaseException:  # pieces may be made on the way
        temporary.unlink(missing_ok=True)
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a written file to the disk and rename it to `path`, on the same file system.

    Raises:
        OSError: it cannot be flushed or renamed.
    """
    flush(temporary)
    temporary.replace(path)
    # The rename itself lives in the folder: without this, a power cut may undo it after we said that it was done.
    flush(path.parent)


def flush(path: Path) -> None:
    """Force a file or folder to the disk.

    Raises:
        OSError: it cannot be opened or flushed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file, read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
