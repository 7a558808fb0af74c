"""What was published beside MS-Celeb-1M: lists of clean images, and the names of its people."""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.images import RejectedImage
from data_prep.sources.identity_names import identity_name, told_apart
from data_prep.sources.name_table import MAX_NAME_BYTES, NameTable
from lightning_face.errors import DataError

_MID = b"m."
_ROWS_AT_A_TIME = 100_000


@dataclass(frozen=True)
class CleanList:
    """Which images are good, and whom they show.

    Args:
        rows: by name of the image, the number of its identity.
        identities: names.
    """

    rows: NameTable
    identities: list[str]

    def identity(self, image: bytes) -> str | None:
        """The name of who is on an image, or None for one that is not listed."""
        row = self.rows.find(image)
        return None if row is None else self.identities[row[0]]


def read_clean_list(path: Path) -> CleanList:
    """A list with an image, as `m.015t56/56-FaceId-0.jpg`, and its label in each line, in either order.

    Labels that are MIDs are identities. Those that are not, as the numbers of the list that goes with LightCNN, stand
    for the MID of their first image.

    Args:
        path: of the list; 5 million lines take 200 MB.

    Raises:
        DataError: it cannot be read, is no such list, or gives an image two labels.
    """
    blocks, names, numbers = [np.array([], dtype="S1")], list[bytes](), array("i")
    first_images: dict[bytes, tuple[int, bytes]] = {}
    for line_number, line in _lines(path):
        image, label = _image_and_label(path, line_number, line)
        number, _ = first_images.setdefault(label, (len(first_images), image))
        names.append(image)
        numbers.append(number)
        if len(names) == _ROWS_AT_A_TIME:
            blocks.append(np.array(names))
            names.clear()
    names_N = np.concatenate([*blocks, np.array(names, dtype=bytes)])
    mids = {
        label.decode(errors="replace"): (label if label.startswith(_MID) else image.split(b"/")[0]).decode(
            errors="replace"
        )
        for label, (_, image) in first_images.items()
    }
    return CleanList(NameTable.of(path, names_N, np.array(numbers)[:, None]), list(told_apart(mids).values()))


def read_names(path: Path) -> dict[str, str]:
    """Names by MID, from lines like `m.0cqt90<tab>"Donald Trump"@en`: the English one, or else the first.

    People of one name are told apart by their MIDs; names that cannot be used are left out.

    Raises:
        DataError: it cannot be read or is no such list.
    """
    names: dict[str, str] = {}
    for number, line in _lines(path):
        mid, tab, quoted = line.partition(b"\t")
        text, _, language = quoted.rpartition(b"@")
        if not tab or not text:
            raise DataError(f'{path} line {number}: expected MID<tab>"NAME"@LANGUAGE, found {line[:80]!r}')
        with suppress(RejectedImage):
            if language == b"en" or mid.decode(errors="replace") not in names:
                names[mid.decode(errors="replace")] = identity_name(text.strip(b'"'))
    return told_apart(names)


def _image_and_label(path: Path, number: int, line: bytes) -> tuple[bytes, bytes]:
    fields = line.split()
    if len(fields) != 2 or (b"/" in fields[0]) == (b"/" in fields[1]) or max(map(len, fields)) > MAX_NAME_BYTES:
        raise DataError(f"{path} line {number}: expected MID/IMAGE.jpg and a label, found {line[:80]!r}")
    return (fields[0], fields[1]) if b"/" in fields[0] else (fields[1], fields[0])


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip(b"\r\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
