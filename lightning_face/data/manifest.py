"""What a folder of shards holds: `manifest.json`, `index.bin` (20 bytes a sample) and `identities.txt`.

A *dataset* is a folder of WebDataset tars with these three files beside them. A *verification set* is a dataset with
`pairs.csv` (columns left, right, same, fold: two sample ids, 0 or 1, and the fold or -1).
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lightning_face.errors import DataError

MANIFEST_FILE = "manifest.json"
INDEX_FILE = "index.bin"
IDENTITIES_FILE = "identities.txt"
PAIRS_FILE = "pairs.csv"
VERSION = 1

MAX_PIXELS = 64_000_000
"""Larger images are refused: a few kilobytes can claim gigabytes (a decompression bomb)."""

INDEX_DTYPE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("label", "<i4")])
"""One row of the index: which shard, where the image's bytes begin in it, how many, and the class."""


def names_in(text: str) -> list[str]:
    """The names that `identities.txt` holds, a line each; line number is label.

    Not `splitlines`: it also breaks at letters that may stand in a name, and all names after it would move.
    """
    return text.removesuffix("\n").split("\n")


def are_numbers(names: list[str]) -> bool:
    """Whether they are the numbers of the classes, which `python -m data_prep index` writes where it has no names."""
    return all(name == str(line) for line, name in enumerate(names))


@dataclass(frozen=True)
class Shard:
    """One tar: its file name, number of samples, length in bytes and sha256 of the file."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Contents of a dataset.

    Args:
        num_samples: images in all shards, the length of the index.
        num_classes: identities, the length of `identities.txt`; labels are in [0, num_classes).
        shuffled: whether samples were spread over the shards at random (identity-sorted tars need a wider window).
        index_sha256: of `index.bin`.
        shards: in the order that the index numbers them.
    """

    num_samples: int
    num_classes: int
    shuffled: bool
    index_sha256: str
    shards: tuple[Shard, ...]
    version: int = VERSION

    def to_json(self) -> str:
        """The text of `manifest.json`, the same for the same contents."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    def digest(self) -> str:
        """Sha256 of the text: two datasets with one digest hold the same samples in the same places."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @staticmethod
    def load(folder: Path) -> "Manifest":
        """Read `folder/manifest.json`.

        Raises:
            DataError: it is missing, no manifest, or of another version.
        """
        path = folder / MANIFEST_FILE
        if not os.path.isfile(path):
            raise DataError(
                f"{path} is missing, {folder} is no dataset: make it with `python -m data_prep folder SRC {folder}`,"
                f" or `python -m data_prep index {folder}` for tars made elsewhere"
            )
        try:
            fields = json.loads(path.read_text())
            # Before anything else: another version may have other fields.
            version = fields.get("version", VERSION)
            if version != VERSION:
                raise DataError(f"{path} has version {version}, not {VERSION}; prepare the data again")
            shards = tuple(Shard(**shard) for shard in fields.pop("shards"))
            return Manifest(shards=shards, **fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{path} is not a manifest ({error}); write it again with `python -m data_prep`") from error
