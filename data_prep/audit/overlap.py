"""`overlap`: which people and images a training set shares with the sets that it will be evaluated with."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.audit.image_hashes import hash_images
from data_prep.audit.shared_images import places_of, shared_images
from data_prep.passes.publish import identities_text
from data_prep.passes.record import WORK_FOLDER, clear_work
from data_prep.progress import say
from data_prep.sources.identity_names import without_spelling
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError
from lightning_face.files import write_atomically

NAMES_FILE = "names.txt"
IMAGES_FILE = "images.csv"


class Dataset(NamedTuple):
    """A dataset with the names of its people, by label, and the hashes of its images, by sample id."""

    shards: Shards
    names: Sequence[str]
    hashes_N: NDArray[np.void]


class Shared(NamedTuple):
    """What is shared with one set: labels of the training set by name, and pairs of images, PAIR_DTYPE."""

    evaluation: Dataset
    labels: Sequence[int]
    images_P: NDArray[np.void]


def overlap(train: Path, evaluations: Sequence[Path], *, bits: int, out: Path | None, workers: int) -> int:
    """Print what is shared.

    Args:
        train: folder of the training set.
        evaluations: folders of the others.
        bits: of 64 that the perceptual hashes of two images may differ in.
        out: folder for the lists of what is shared, and until they are written for the hashes, which a run that is
            started again takes; None writes nothing.
        workers: processes.

    Returns:
        Exit code: 0, or 1 if anything is shared.

    Raises:
        DataError: one is no dataset or cannot be read, or `out` cannot be written.
    """
    opened = [_open(folder) for folder in (train, *evaluations)]
    work = None if out is None else _begin(out)
    trained, *others = (_hashed(shards, workers, work) for shards in opened)
    found = []
    for evaluation in others:
        images_P = shared_images(trained.hashes_N, evaluation.hashes_N, bits)
        found.append(Shared(evaluation, labels_of_shared(trained.names, evaluation.names), images_P))
        _tell(trained, found[-1], bits)
    if out is not None:
        _write(out, trained, found)
        clear_work(out)
    return int(any(len(shared.labels) or len(shared.images_P) for shared in found))


def _open(folder: Path) -> Shards:
    try:
        return Shards(folder)
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error


def _begin(out: Path) -> Path:
    """Make the folder of unfinished work in `out`."""
    try:
        (out / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(_cannot_write(out, error)) from error
    return out / WORK_FOLDER


def _cannot_write(out: Path, error: OSError) -> str:
    return f"cannot write {out}: {error.strerror}; choose a folder that can be written"


def _hashed(shards: Shards, workers: int, work: Path | None) -> Dataset:
    try:
        names = shards.identities()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the names of {shards.folder} cannot be read: {error}") from error
    hashes_N = hash_images(shards, workers, work)
    damaged = int((~hashes_N["is_decoded"]).sum())
    if damaged:
        say(f"{shards.folder}: images that cannot be decoded, compared by their bytes alone: {damaged:,}")
    return Dataset(shards, names, hashes_N)


def labels_of_shared(names: Sequence[str], other: Sequence[str]) -> list[int]:
    """Labels of the names that another dataset has too, however it spells them.

    Args:
        names: by label.
        other: the other's names.
    """
    there = {without_spelling(name) for name in other} - {""}
    return [label for label, name in enumerate(names) if without_spelling(name) in there]


def _tell(train: Dataset, shared: Shared, bits: int) -> None:
    evaluation, pairs_P = shared.evaluation, shared.images_P
    num_names = len(labels_of_shared(evaluation.names, train.names))
    exact = np.unique(pairs_P["evaluation"][pairs_P["is_exact"]])
    near = np.setdiff1d(pairs_P["evaluation"], exact)
    where, other, of_images = evaluation.shards.folder, train.shards.folder, f"of {len(evaluation.hashes_N):,}"
    say(f"{where}: names that {other} has too: {num_names:,} of {len(evaluation.names):,}")
    say(f"{where}: images with the bytes of one of {other}: {len(exact):,} {of_images}")
    say(f"{where}: other images that look like one of {other}, {bits} of 64 bits or fewer: {len(near):,} {of_images}")


def _write(out: Path, train: Dataset, found: Sequence[Shared]) -> None:
    label_N = train.shards.index["label"]
    labels = {label for shared in found for label in (*shared.labels, *label_N[shared.images_P["train"]].tolist())}
    num_images = int(np.isin(label_N, list(labels)).sum())
    try:
        write_atomically(out / NAMES_FILE, identities_text(sorted(train.names[label] for label in labels)))
        write_atomically(out / IMAGES_FILE, _images_csv(train, found))
    except OSError as error:
        raise DataError(_cannot_write(out, error)) from error
    say(f"{out / NAMES_FILE}, for --exclude: {len(labels):,} people of {train.shards.folder}, {num_images:,} images")


def _images_csv(train: Dataset, found: Sequence[Shared]) -> bytes:
    """A line for each pair of images, by evaluation set and then by image to train on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("train_identity", "train_image", "evaluation", "identity", "image", "bits", "bytes"))
    for shared in found:
        folder, pairs_P = shared.evaluation.shards.folder, shared.images_P
        own, others = _shown(train, pairs_P["train"]), _shown(shared.evaluation, pairs_P["evaluation"])
        for one, other, pair in zip(own, others, pairs_P, strict=True):
            writer.writerow((*one, folder, *other, pair["bits"], "same" if pair["is_exact"] else "other"))
    return text.getvalue().encode(errors="backslashreplace")


def _shown(dataset: Dataset, samples_P: NDArray[np.uint32]) -> Iterator[tuple[str, str]]:
    """Name and place of images, by their sample ids."""
    places, label_N = places_of(dataset.shards, samples_P), dataset.shards.index["label"]
    return ((dataset.names[label_N[sample]], places[sample]) for sample in samples_P.tolist())
