"""What comes beside the images of VGGFace2: landmarks, boxes, lists of images, and the names of its people."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from data_prep.images import RejectedImage
from data_prep.sources.identity_names import identity_name, told_apart
from data_prep.sources.name_table import MAX_NAME_BYTES, NameTable
from data_prep.sources.people import read_lines
from lightning_face.errors import DataError

LANDMARK_NUMBERS = 10
BOX_NUMBERS = 4

_NAME = f"S{MAX_NAME_BYTES + 1}"  # one more than may be, to notice longer ones


def read_places(path: Path, numbers: int) -> NameTable:
    """Where faces are: `loose_landmark_*.csv` (NAME_ID,P1X,P1Y,...,P5Y) or `loose_bb_*.csv` (NAME_ID,X,Y,W,H).

    Args:
        path: of the table; 3 million landmarks take 200 MB.
        numbers: in a row, after the name.

    Returns:
        Pixels by name of the image, as `n000002/0001_01`.

    Raises:
        DataError: it cannot be read, or is no such table.
    """
    rows = _read(
        path, [("name", _NAME), ("numbers", np.float32, (numbers,))], f"NAME_ID and {numbers} numbers", header=1
    )
    return NameTable.of(path, rows["name"], rows["numbers"])


def read_image_list(path: Path) -> NameTable:
    """Names of images, as `n000002/0001_01.jpg`, a line each: `train_list.txt`.

    Raises:
        DataError: it cannot be read, or is no such list.
    """
    names_N = _read(path, _NAME, "NAME/IMAGE.jpg", header=0)
    return NameTable.of(path, names_N, np.empty((len(names_N), 0)))


def read_identity_names(path: Path) -> dict[str, str]:
    """Names by folder, from `identity_meta.csv`: its lines are `n000001, "14th_Dalai_Lama", 424, 0, m`.

    Names hold commas and quotes of all kinds, so that they are what lies between the first comma and the last but two.
    Those that cannot be used are left out; people of one name are told apart by their folders.

    Raises:
        DataError: it cannot be read, or is no such list.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        folder, _, rest = line.partition(",")
        fields = rest.rsplit(",", 3)
        if len(fields) != 4:
            raise DataError(f"{path} line {number}: expected ID, NAME, IMAGES, FLAG, GENDER, found {line[:80]!r}")
        try:
            names[folder.strip()] = identity_name(fields[0].strip(' "\t').encode())
        except RejectedImage:
            continue
    return told_apart(names)


def _read(path: Path, dtype: DTypeLike, line: str, header: int) -> NDArray[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is met below
            rows = np.loadtxt(
                path, dtype, delimiter=",", quotechar='"', comments=None, skiprows=header, ndmin=1, encoding="utf-8"
            )
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path}: expected lines of {line}: {' '.join(str(error).split())}") from error
    if not len(rows):
        raise DataError(f"{path} is empty; expected lines of {line}")
    return rows
