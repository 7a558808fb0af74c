"""`bin`: insightface's verification sets."""

import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.images import check_jpeg
from lightning_face.data.manifest import Manifest
from lightning_face.evaluation.pairs import read_pairs

SAME = [True, False] * 11 + [True]


@pytest.fixture
def images(encode: Callable) -> list[bytes]:
    return [encode(seed) for seed in range(2 * len(SAME))]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def call(value: object, protocol: int = 4) -> Path:
        (tmp_path / "lfw.bin").write_bytes(pickle.dumps(value, protocol))
        return tmp_path / "lfw.bin"

    return call


def stored(folder: Path) -> list[bytes]:
    with tarfile.open(folder / "shard-000000.tar") as tar:
        return [tar.extractfile(info).read() for info in tar if info.name.endswith(".jpg")]  # type: ignore[union-attr]


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("as_array", [False, True])
def test_images_stay_in_order_and_untouched(
    tmp_path: Path, images: list[bytes], write: Callable, run: Callable, as_array: bool, protocol: int
) -> None:
    held = [np.frombuffer(image, dtype=np.uint8) for image in images] if as_array else images
    code, out, err = run("bin", write((held, SAME), protocol), tmp_path / "out", "--workers", 0)
    assert (code, err) == (0, "") and "46 images of 34 identities" in out
    assert stored(tmp_path / "out") == images
    assert not Manifest.load(tmp_path / "out").shuffled
    assert run("check", tmp_path / "out", "--workers", 0).code == 0


def test_pairs_and_folds_are_those_of_an_unshuffled_k_fold(
    tmp_path: Path, images: list[bytes], write: Callable, run: Callable
) -> None:
    run("bin", write((images, [int(same) for same in SAME])), tmp_path / "out", "--workers", 0)
    pairs = read_pairs(tmp_path / "out" / "pairs.csv", len(images))
    assert pairs.left_P.tolist() == list(range(0, 46, 2)) and pairs.right_P.tolist() == list(range(1, 46, 2))
    assert pairs.same_P.tolist() == SAME
    # sklearn.model_selection.KFold(10).split(range(23)): the first 23 % 10 folds have one more.
    assert pairs.fold_P.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + np.repeat(np.arange(3, 10), 2).tolist()


def test_size(tmp_path: Path, images: list[bytes], write: Callable, run: Callable) -> None:
    run("bin", write((images, SAME)), tmp_path / "out", "--workers", 0, "--size", 16)
    assert [check_jpeg(image) for image in stored(tmp_path / "out")] == [(16, 16)] * len(images)


def test_a_changed_file_is_refused(
    tmp_path: Path, images: list[bytes], write: Callable, run: Callable, fails: Callable
) -> None:
    run("bin", write((images, SAME)), tmp_path / "out", "--workers", 0)
    line = fails("bin", write((images[2:] + images[:2], SAME)), tmp_path / "out", "--workers", 0)
    assert "was begun otherwise: source was" in line


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_that_tries_to_run_something(
    tmp_path: Path, images: list[bytes], write: Callable, fails: Callable
) -> None:
    line = fails("bin", write((images, [*SAME[:-1], Runs(tmp_path / "was here")])), tmp_path / "out")
    assert "lfw.bin" in line and "it asks for" in line
    assert not (tmp_path / "was here").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([b"image"] * 3, "is no verification set of insightface"),
        (7, "is no verification set of insightface"),
        (([b"image"] * 3, [True]), "3 images for 1 pairs"),
        (([], []), "0 images for 0 pairs"),
        (([b"image", 7], [True]), "image 1 is no image file but 7"),
        (([np.zeros((2, 2), dtype=np.uint8)] * 2, [True]), "image 0 is no image file but Array"),
        (([b"image"] * 40, [True, False] * 5 + [True] * 10), "fold 5 of 10, 2 of the 20 pairs, lacks"),
        (([b"image"] * 8, [True, False] * 2), "fold 0 of 10, 1 of the 4 pairs, lacks"),
    ],
)
def test_something_else(tmp_path: Path, write: Callable, fails: Callable, value: object, expected: str) -> None:
    assert expected in fails("bin", write(value), tmp_path / "out")


def test_damaged_files(tmp_path: Path, images: list[bytes], write: Callable, fails: Callable) -> None:
    path = write((images, SAME))
    path.write_bytes(path.read_bytes()[:5000])
    assert "copy or download it again" in fails("bin", path, tmp_path / "out")
    path.write_bytes(b"")
    assert "copy or download it again" in fails("bin", path, tmp_path / "out")
    assert "cannot read" in fails("bin", tmp_path, tmp_path / "out")
    broken = write(([*images[:-1], images[-1][:-60]], SAME))
    assert "image 45: damaged JPEG" in fails("bin", broken, tmp_path / "out", "--workers", 0)
