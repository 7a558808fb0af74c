"""`pairs`: LFW's lists of pairs become verification sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_face.data.manifest import INDEX_DTYPE, Manifest

ONE_LIST = "2\nBo\t2\t5\nAl\t1\t4\nAl\t1\tBo\t2\nBo\t5\tCy\t1\n"
FOLDS = "2\t1\nBo\t2\t5\nAl\t1\tBo\t2\nAl\t1\t4\nBo\t5\tCy\t1\n"


@pytest.fixture
def pairs(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "pairs.txt").write_text(text)
        return tmp_path / "pairs.txt"

    return write


def test_only_the_images_named_in_the_order_of_their_names(
    faces: Path, tmp_path: Path, pairs: Callable, run: Callable
) -> None:
    out = run("pairs", faces, pairs(ONE_LIST), tmp_path / "out", "--workers", 0, "--shard-samples", 2).out
    assert "5 images of 3 identities in 3 shards" in out
    manifest = Manifest.load(tmp_path / "out")
    index = np.fromfile(tmp_path / "out" / "index.bin", INDEX_DTYPE)
    images = []
    for row in index:
        data = (tmp_path / "out" / manifest.shards[row["shard"]].name).read_bytes()
        images.append(data[row["offset"] : row["offset"] + row["size"]])
    names = ["Al/Al_0001", "Al/Al_0004", "Bo/Bo_0002", "Bo/Bo_0005", "Cy/Cy_0001"]
    assert images == [(faces / f"{name}.jpg").read_bytes() for name in names]
    assert index["label"].tolist() == [0, 0, 1, 1, 2]
    assert not manifest.shuffled
    expected = "left,right,same,fold\n2,3,1,-1\n0,1,1,-1\n0,2,0,-1\n3,4,0,-1\n"
    assert (tmp_path / "out" / "pairs.csv").read_text() == expected
    assert run("check", tmp_path / "out", "--workers", 0).code == 0


def test_folds(faces: Path, tmp_path: Path, pairs: Callable, run: Callable) -> None:
    run("pairs", faces, pairs(FOLDS), tmp_path / "out", "--workers", 0)
    expected = "left,right,same,fold\n2,3,1,0\n0,2,0,0\n0,1,1,1\n3,4,0,1\n"
    assert (tmp_path / "out" / "pairs.csv").read_text() == expected


def test_a_changed_list_is_refused(
    faces: Path, tmp_path: Path, pairs: Callable, run: Callable, fails: Callable
) -> None:
    run("pairs", faces, pairs(ONE_LIST), tmp_path / "out", "--workers", 0)
    assert "list was " in fails("pairs", faces, pairs(FOLDS), tmp_path / "out")


def test_missing_image(faces: Path, tmp_path: Path, pairs: Callable, fails: Callable) -> None:
    line = fails("pairs", faces, pairs("1\nAl\t1\t2\nAl\t1\tCy\t2\n"), tmp_path / "out")
    assert f"pairs.txt line 3 names {faces / 'Cy' / 'Cy_0002.jpg'}, which is missing" in line


def test_damaged_image(faces: Path, tmp_path: Path, pairs: Callable, fails: Callable) -> None:
    (faces / "Al" / "Al_0004.jpg").write_bytes(b"no image")
    line = fails("pairs", faces, pairs(ONE_LIST), tmp_path / "out", "--workers", 0)
    assert "Al/Al_0004.jpg: not an image of a known format; a verification set needs every image" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "pairs.txt is empty"),
        ("Al\t1\t2\n", "line 1: expected PAIRS, or FOLDS<tab>PAIRS"),
        ("0\n", "line 1: expected PAIRS, or FOLDS<tab>PAIRS"),
        ("1\nAl\t1\t2\n", "line 1: announces 1 x 1 pairs of one person and as many of two, 1 lines follow"),
        ("1\nAl\t1\t2\nAl\t1\tBo\t1\nAl\t1\tBo\t2\n", "announces 1 x 1"),
        ("1\nAl\t1\nAl\t1\tBo\t1\n", "line 2: expected NAME N M (one person), found 'Al\\t1'"),
        ("1\nAl\t1\t0\nAl\t1\tBo\t1\n", "line 2: expected NAME N M"),
        ("1\nAl\t1\ttwo\nAl\t1\tBo\t1\n", "line 2: expected NAME N M"),
        ("1\nAl\t1\tBo\t2\nAl\t1\tBo\t1\n", "line 2: expected NAME N M"),
        ("1\nAl\t1\t2\nAl\t1\t3\n", "line 3: expected NAME N NAME M (two persons), found"),
        ("1\nAl\t1\t2\nAl\t1\tAl\t3\n", "line 3: expected NAME N NAME M"),
    ],
)
def test_malformed_lists(
    faces: Path, tmp_path: Path, pairs: Callable, fails: Callable, text: str, expected: str
) -> None:
    assert expected in fails("pairs", faces, pairs(text), tmp_path / "out")


def test_list_missing(faces: Path, tmp_path: Path, fails: Callable) -> None:
    assert "cannot read" in fails("pairs", faces, tmp_path / "nowhere", tmp_path / "out")
