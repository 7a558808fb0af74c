"""`pairs`: a verification set from LFW's lists of pairs, with the images that they name and no others."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import fingerprint
from data_prep.passes.writer import write_dataset
from data_prep.sources.folder import ListedImages
from data_prep.sources.listing import numbered_image
from data_prep.sources.people import fields_of, read_lines, whole_number
from lightning_face.data.manifest import PAIRS_FILE, Manifest
from lightning_face.errors import DataError

NO_FOLD = -1

Image = tuple[str, int]
"""Name of a person and number of an image, from 1."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A line of the list: two images, the fold (or -1) and where it stands."""

    left: Image
    right: Image
    fold: int
    line: int


def make_pairs(
    images: Path, pairs: Path, out: Path, *, size: int, quality: int, shard_samples: int, workers: int
) -> Manifest | None:
    """Write the verification set `out`.

    Args:
        images: folder with `NAME/NAME_0001.jpg`.
        pairs: LFW's `pairs.txt`, `pairsDevTrain.txt` or `pairsDevTest.txt`.
        out: folder to write.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
        shard_samples: images in a shard, at most.
        workers: processes.

    Raises:
        DataError: the list is malformed, or an image is missing or damaged.
        ConfigError: `out` was begun with other options.
    """
    listed = read_pairs(pairs)
    lines: dict[Image, int] = {}
    for pair in listed:
        lines.setdefault(pair.left, pair.line)
        lines.setdefault(pair.right, pair.line)
    named = sorted(lines)
    found = [numbered_image(images, name, number, f"{pairs} line {lines[name, number]}") for name, number in named]
    return write_dataset(
        out, ListedImages(images, size, quality, found),
        Recipe(shard_samples=shard_samples, shuffle=False, keep_all=True), Job(workers=workers),
        options={
            "command": "pairs", "source": os.path.realpath(images), "list": fingerprint(pairs), "size": size,
            "quality": quality,
        },
        files={PAIRS_FILE: _rows(listed, named)},
    )  # fmt: skip


def _rows(pairs: Sequence[Pair], named: Sequence[Image]) -> bytes:
    ids = {image: number for number, image in enumerate(named)}
    return pairs_csv((ids[pair.left], ids[pair.right], int(pair.left[0] == pair.right[0]), pair.fold) for pair in pairs)


def pairs_csv(rows: Iterable[tuple[int, int, int, int]]) -> bytes:
    """Contents of `pairs.csv` from rows (left, right, same, fold)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("left", "right", "same", "fold"))
    writer.writerows(rows)
    return text.getvalue().encode()


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of the list, in its order.

    Raises:
        DataError: the file is missing, or a line is not what its place asks for.
    """
    lines = read_lines(path)
    counts = [whole_number(field) for field in fields_of(lines[0])]
    if len(counts) not in (1, 2) or None in counts:
        raise DataError(f"{path} line 1: expected PAIRS, or FOLDS<tab>PAIRS, found {lines[0]!r}")
    folds, per_fold = (1, counts[0]) if len(counts) == 1 else (counts[0], counts[1])
    assert folds is not None and per_fold is not None
    if len(lines) != 1 + folds * 2 * per_fold:
        raise DataError(
            f"{path} line 1: announces {folds} x {per_fold} pairs of one person and as many of two,"
            f" {len(lines) - 1} lines follow"
        )
    pairs = []
    for at, line in enumerate(lines[1:]):
        fold, place = divmod(at, 2 * per_fold)
        pairs.append(_pair(path, at + 2, line, place < per_fold, fold if len(counts) == 2 else NO_FOLD))
    return pairs


def _pair(path: Path, line: int, text: str, same: bool, fold: int) -> Pair:
    fields = fields_of(text)
    if same and len(fields) == 3:
        fields = [fields[0], fields[1], fields[0], fields[2]]
    elif same or len(fields) != 4:
        fields = []
    numbers = [whole_number(field) for field in fields[1::2]]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None or (fields[0] == fields[2]) != same:
        expected = "NAME N M (one person)" if same else "NAME N NAME M (two persons)"
        raise DataError(f"{path} line {line}: expected {expected}, found {text!r}")
    return Pair((fields[0], numbers[0]), (fields[2], numbers[1]), fold, line)
