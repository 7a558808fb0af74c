"""Labeled Faces in the Wild itself, where it is at hand."""

import os
from collections.abc import Callable
from csv import DictReader
from pathlib import Path

import numpy as np
import pytest

from data_prep.alignment import align_to_landmarks
from data_prep.images import to_pixels
from lightning_face.data.manifest import INDEX_DTYPE, Manifest

DATA = Path(os.environ.get("LIGHTNING_FACE_DATA", Path(__file__).parents[4] / "shared" / "data"))

pytestmark = pytest.mark.skipif(
    not (DATA / "lfw" / "images").is_dir(), reason=f"{DATA}/lfw is missing; LIGHTNING_FACE_DATA names another folder"
)


def test_view_1(tmp_path: Path, run: Callable) -> None:
    people = DATA / "lfw" / "protocol" / "peopleDevTrain.txt"
    assert run("folder", DATA / "lfw" / "images", tmp_path / "out", "--people", people).code == 0
    manifest = Manifest.load(tmp_path / "out")
    assert (manifest.num_classes, manifest.num_samples) == (4038, 9525)
    assert len(np.unique(np.fromfile(tmp_path / "out" / "index.bin", INDEX_DTYPE)["label"])) == 4038
    assert (tmp_path / "out" / "rejected.csv").read_text() == "source,reason\n"


def test_view_1_pairs(tmp_path: Path, run: Callable) -> None:
    pairs = DATA / "lfw" / "protocol" / "pairsDevTest.txt"
    run("pairs", DATA / "lfw" / "images", pairs, tmp_path / "out", "--workers", 0)
    rows = np.loadtxt(tmp_path / "out" / "pairs.csv", delimiter=",", skiprows=1, dtype=int)
    assert rows.shape == (1000, 4) and rows[:, 2].sum() == 500 and set(rows[:, 3]) == {-1}
    assert run("check", tmp_path / "out", "--workers", 0).code == 0


def test_view_2_lists_all_of_lfw_in_ten_folds(tmp_path: Path, run: Callable) -> None:
    from data_prep.sources.people import read_people_folds
    from data_prep.verification.pairs import read_pairs

    folds = read_people_folds(DATA / "lfw" / "protocol" / "people.txt")
    assert len(folds) == 10
    assert sum(person.images for fold in folds for person in fold) == 13233
    pairs = read_pairs(DATA / "lfw" / "protocol" / "pairs.txt")
    assert [sum(pair.fold == fold for pair in pairs) for fold in range(10)] == [600] * 10
    names = [{person.name for person in fold} for fold in folds]
    assert all({pair.left[0], pair.right[0]} <= names[pair.fold] for pair in pairs)


def test_originals_are_aligned_as_the_field_aligns_them() -> None:
    with (DATA / "lfw" / "landmarks.csv").open() as file:
        landmarks = {
            row["image"]: [float(row[f"{axis}{i}"]) for i in range(5) for axis in "xy"] for row in DictReader(file)
        }
    originals = sorted((DATA / "lfw" / "raw_250").glob("*/*.jpg"))
    differences = []
    for path in originals:
        name = f"{path.parent.name}/{path.name}"
        face = align_to_landmarks(to_pixels(path.read_bytes()), landmarks[name], 112)
        expected = to_pixels((DATA / "lfw" / "images" / name).read_bytes())
        differences.append(np.abs(face.astype(int) - expected.astype(int)).mean())
    assert len(originals) == 200
    assert np.mean(differences) < 1.6 and np.max(differences) < 4
