"""`check` finds what is wrong with a dataset."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_face.data.manifest import INDEX_DTYPE


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that are not wrapped."""
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def dataset(faces: Path, tmp_path: Path, run: Callable) -> Path:
    """Ten images in three shards."""
    run("folder", faces, tmp_path / "out", "--workers", 0, "--shard-samples", 4)
    return tmp_path / "out"


@pytest.fixture
def finds(run: Callable) -> Callable[..., str]:
    """Checks a dataset with something wrong; returns what was printed, in single blanks."""

    def call(folder: Path) -> str:
        code, out, err = run("check", folder, "--workers", 0)
        assert code == 1 and err == "" and "findings\n" in out, out
        return " ".join(out.split())

    return call


def change_manifest(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_byte(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def index_again(dataset: Path, run: Callable, *options: object) -> None:
    """Make the index fit tars that were changed, so that only their contents are wrong."""
    (dataset / "data_prep.json").unlink()
    assert run("index", dataset, "--workers", 0, *options).code == 0


def test_nothing_wrong(dataset: Path, run: Callable) -> None:
    for workers in (0, 2):
        code, out, err = run("check", dataset, "--workers", workers)
        assert code == 0 and err == "" and f"{dataset}: nothing wrong\n" in out
        for cell in ("10", "3, 0.0 MB, shuffled", "1 to 5, median 4", "24 x 24: 10"):
            assert f"│ {cell} " in out


def test_wrong_sha256(dataset: Path, finds: Callable) -> None:
    change_byte(dataset / "shard-000001.tar", -1)
    assert "shard-000001.tar │ has sha256" in finds(dataset)


def test_truncated_tar(dataset: Path, finds: Callable) -> None:
    os.truncate(dataset / "shard-000001.tar", 2000)
    out = finds(dataset)
    assert "is 2,000 bytes long, the manifest says" in out and "is truncated" in out


def test_missing_shard(dataset: Path, finds: Callable) -> None:
    (dataset / "shard-000002.tar").unlink()
    out = finds(dataset)
    assert "shard-000002.tar │ is missing" in out and out.endswith("findings: 1")


def test_manifest_of_other_tars(dataset: Path, finds: Callable) -> None:
    shards = json.loads((dataset / "manifest.json").read_text())["shards"]
    shards[0]["samples"] = 3
    change_manifest(dataset, shards=shards)
    out = finds(dataset)
    assert "holds 4 samples, the manifest says 3" in out and "says 10 samples, its shards 9" in out
    change_manifest(dataset, shards=shards[1:], num_classes=4)
    out = finds(dataset)
    assert "shard-000000.tar │ is not in the manifest" in out
    assert "10 rows" not in out and "3 rows have a shard not in 0 to 1, the first 2" in out
    assert "points at" in out and "images without a row in the index" in out
    assert "has 3 names, the manifest says 4 classes" in out


def test_labels_beyond_the_classes(dataset: Path, finds: Callable) -> None:
    change_manifest(dataset, num_classes=2)
    out = finds(dataset)
    assert "1 rows have a label not in 0 to 1, the first 2" in out
    assert "has label 2; there are 2 classes, from 0" in out


def test_undecodable_image(dataset: Path, finds: Callable, run: Callable) -> None:
    row = np.fromfile(dataset / "index.bin", INDEX_DTYPE)[5]
    change_byte(dataset / "shard-000001.tar", int(row["offset"]) + 2)
    index_again(dataset, run)
    out = finds(dataset)
    assert "damaged JPEG" in out and out.endswith("findings: 1")


def test_rows_that_point_elsewhere_or_say_otherwise(dataset: Path, finds: Callable) -> None:
    index = np.fromfile(dataset / "index.bin", INDEX_DTYPE)
    index["offset"][0] += 512
    index["label"][9] = (index["label"][9] + 1) % 3
    index.tofile(dataset / "index.bin")
    out = finds(dataset)
    assert "index.bin │ has another sha256" in out
    assert "shard-000000.tar row 0" in out and "where no image lies" in out
    assert "has 1 images without a row in the index" in out
    assert "shard-000002.tar row 2" in out and ".cls says" in out


def test_index_missing_or_cut(dataset: Path, finds: Callable) -> None:
    os.truncate(dataset / "index.bin", 50)
    assert "has 2.5 rows, the manifest says 10 samples" in finds(dataset)
    (dataset / "index.bin").unlink()
    (dataset / "identities.txt").unlink()
    out = finds(dataset)
    assert "cannot be read: No such file" in out and "identities.txt" in out


def test_pairs(faces: Path, tmp_path: Path, run: Callable, finds: Callable) -> None:
    (tmp_path / "pairs.txt").write_text("1\nBo\t2\t5\nAl\t1\tBo\t2\n")
    run("pairs", faces, tmp_path / "pairs.txt", tmp_path / "out", "--workers", 0)
    path = tmp_path / "out" / "pairs.csv"
    path.write_text("left,right,same,fold\n0,1,1,-1\n0,3,0,-1\n0,1\n1,2,1,-1\n")
    out = finds(tmp_path / "out")
    assert "pairs.csv line 2" in out and "says same = 1, the labels of 0 and 1 otherwise" in out
    assert "names sample 3 of 3, from 0" in out and "expected four integers, found '0,1'" in out
    path.write_text("0,1,1,-1\n")
    assert "does not begin with left,right,same,fold" in finds(tmp_path / "out")


def test_many_findings_are_counted_not_listed(
    make_faces: Callable, tmp_path: Path, run: Callable, finds: Callable
) -> None:
    run("folder", make_faces({"Al": 1, "Bo": 30}), tmp_path / "out", "--workers", 0)
    change_manifest(tmp_path / "out", num_classes=1)
    out = finds(tmp_path / "out")
    assert out.count("has label 1; there are 1 classes") == 20
    assert out.endswith("findings: 32, 10 not shown")


def test_no_dataset(tmp_path: Path, fails: Callable) -> None:
    assert "manifest.json is missing" in fails("check", tmp_path)
