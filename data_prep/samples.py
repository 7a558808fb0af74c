"""Samples of a shard: `KEY.jpg` with its label in `KEY.cls`."""

import re
from dataclasses import dataclass
from pathlib import Path

from data_prep import tars
from lightning_face.errors import DataError

IMAGE_SUFFIXES = ("jpg", "jpeg")
LABEL_SUFFIX = "cls"
MAX_LABEL = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One image in a tar: its key, where its bytes begin and how many they are, and its class."""

    key: str
    offset: int
    size: int
    label: int


def read_samples(path: Path) -> list[Sample]:
    """The samples of a tar, in the order of their images.

    As in WebDataset, the key is the name up to the first dot after the last slash; other members are left alone.

    Raises:
        DataError: the tar is damaged or holds no sample, an image lacks its label or a label its image, a key comes
            twice, or a label is no integer from 0 to 2^31 - 1.
        OSError: the tar cannot be read.
    """
    images: dict[str, tars.Member] = {}
    labels: dict[str, tars.Member] = {}
    for member in tars.members(path):
        key, suffix = _split(member.name)
        kept = images if suffix in IMAGE_SUFFIXES else labels if suffix == LABEL_SUFFIX else None
        if kept is None:
            continue
        if key in kept:
            raise DataError(f"{path}: {member.name} comes twice; keys must differ within a tar")
        kept[key] = member
    if not images and not labels:
        raise DataError(f"{path} holds no KEY.jpg with KEY.cls")
    for key in labels.keys() - images.keys():
        raise DataError(f"{path}: {key}.cls has no {key}.jpg beside it")
    with path.open("rb") as file:
        samples = []
        for key, image in images.items():
            if key not in labels:
                raise DataError(f"{path}: {image.name} has no {key}.cls, its label, beside it")
            file.seek(labels[key].offset)
            label = _label(path, labels[key].name, file.read(min(labels[key].size, 64)))
            samples.append(Sample(key, image.offset, image.size, label))
    return samples


def _split(name: str) -> tuple[str, str]:
    folder, _, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), suffix.lower()


def _label(path: Path, name: str, text: bytes) -> int:
    if not re.fullmatch(rb"\s*[+-]?[0-9]+\s*", text):
        raise DataError(f"{path}: {name} holds {text!r}, which is not an integer label")
    label = int(text)
    if not 0 <= label <= MAX_LABEL:
        raise DataError(f"{path}: {name} holds {label}; labels are integers from 0 to {MAX_LABEL}")
    return label
