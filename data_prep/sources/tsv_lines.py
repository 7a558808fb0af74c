"""Lines of a table that need not fit into memory: a file, plain or gzipped, a folder of them, or standard input."""

import gzip
import itertools
import os
import sys
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from lightning_face.errors import DataError

STANDARD_INPUT = Path("-")
MAX_LINE_BYTES = 32 << 20
"""Longer lines are passed over: no face in base64 has so many."""

_BUFFER_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_SUFFIXES = (".tsv", ".tsv.gz")


class Line(NamedTuple):
    """A line without its end, or None for one that is too long, and where it stands."""

    file: str
    number: int
    text: bytes | None


def read_lines_of(source: Path) -> Iterator[Line]:
    """The lines of a source.

    Args:
        source: a file, a folder of *.tsv and *.tsv.gz (in the order of their names), or `-` for standard input.

    Raises:
        DataError: it is missing, unreadable or cut short.
    """
    if source == STANDARD_INPUT:
        yield from _read("standard input", sys.stdin.buffer)
        return
    for path in _files(source):
        try:
            file = path.open("rb", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        with file:
            yield from _read(path.name, file)


def _files(source: Path) -> list[Path]:
    if not os.path.isdir(source):
        return [source]
    try:
        files = sorted(path for path in source.iterdir() if path.name.endswith(_SUFFIXES) and path.is_file())
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from error
    if not files:
        raise DataError(
            f"{source} holds no {' or '.join('*' + suffix for suffix in _SUFFIXES)}; give a file or its folder"
        )
    return files


def _read(name: str, raw: BinaryIO) -> Iterator[Line]:
    file = cast(BufferedReader, raw)
    if file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
        file = BufferedReader(gzip.GzipFile(fileobj=file), _BUFFER_BYTES)
    try:
        for number in itertools.count(1):
            text = file.readline(MAX_LINE_BYTES)
            if not text:
                return
            if len(text) == MAX_LINE_BYTES and not text.endswith(b"\n"):
                _pass_over_rest(file)
                yield Line(name, number, None)
            else:
                yield Line(name, number, text.rstrip(b"\r\n"))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} cannot be read to its end: {error}; copy or download it again") from error


def _pass_over_rest(file: BufferedReader) -> None:
    while (text := file.readline(MAX_LINE_BYTES)) and not text.endswith(b"\n"):
        pass
