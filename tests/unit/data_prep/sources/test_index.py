"""`index`: tars made elsewhere get manifest, index and identities."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_face.data.manifest import INDEX_DTYPE, Manifest

Pack = Callable[..., Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Writes `tars/NAME` with the given members, as webdataset's own writer does: with times and owners."""

    def write(name: str, members: dict[str, bytes]) -> Path:
        (tmp_path / "tars").mkdir(exist_ok=True)
        with tarfile.open(tmp_path / "tars" / name, "w") as tar:
            for member, data in members.items():
                info = tarfile.TarInfo(member)
                info.size, info.mtime, info.uname = len(data), 1234.5, "me"
                tar.addfile(info, io.BytesIO(data))
        return tmp_path / "tars"

    return write


@pytest.fixture
def tars(pack: Pack, encode: Callable) -> Path:
    """Two tars with labels 0, 2 and 1, 2."""
    pack("b.tar", {"x/1.jpg": encode(1), "x/1.cls": b"0", "x/1.json": b"{}", "x/2.cls": b"2\n", "x/2.JPEG": encode(2)})
    return pack("a.tar", {"1.cls": b"1", "1.jpg": encode(3), "README": b"hello", "2.jpg": encode(4), "2.cls": b" 2 "})


def test_index_and_manifest(tars: Path, run: Callable, encode: Callable) -> None:
    code, out, err = run("index", tars, "--workers", 2)
    assert (code, err) == (0, "") and "4 images of 3 identities in 2 shards" in out
    manifest = Manifest.load(tars)
    assert [shard.name for shard in manifest.shards] == ["a.tar", "b.tar"]
    assert not manifest.shuffled
    index = np.fromfile(tars / "index.bin", INDEX_DTYPE)
    assert index["label"].tolist() == [1, 2, 0, 2]
    for row, seed in zip(index, (3, 4, 1, 2), strict=True):
        data = (tars / manifest.shards[row["shard"]].name).read_bytes()
        assert data[row["offset"] : row["offset"] + row["size"]] == encode(seed)
    assert (tars / "identities.txt").read_text() == "0\n1\n2\n"
    assert run("check", tars, "--workers", 0).code == 0


def test_num_classes(tars: Path, run: Callable, fails: Callable) -> None:
    assert "4 images of 5 identities" in run("index", tars, "--num-classes", 5, "--workers", 0).out
    assert "4 images of 3 identities" in run("index", tars, "--workers", 0).out
    line = fails("index", tars, "--num-classes", 2, "--workers", 0)
    assert "a.tar: 2 has label 2, but there are 2 classes, labels 0 to 1" in line


def test_identities(tars: Path, tmp_path: Path, run: Callable, fails: Callable) -> None:
    names = tmp_path / "names.txt"
    names.write_text("Al\nBo\nCy\nDi\n")
    assert "--num-classes 3, but" in fails("index", tars, "--identities", names, "--num-classes", 3)
    assert "4 images of 4 identities" in run("index", tars, "--identities", names, "--workers", 0).out
    assert (tars / "identities.txt").read_text() == names.read_text()
    assert "identities.txt has 4 names for 3 classes" in fails("index", tars, "--workers", 0)
    run("index", tars, "--num-classes", 4, "--workers", 0)
    assert (tars / "identities.txt").read_text() == names.read_text()
    names.write_text("Al\nBo\n")
    assert "label 2, but there are 2 classes" in fails("index", tars, "--identities", names, "--workers", 0)
    for given in ((tars / "identities.txt",), (names, "--identities", names)):
        given[0].write_text("Al\nBo\nAl\nDi\n")
        assert f"{given[0]} line 3: Al is the name of line 1 already" in fails(
            "index", tars, *given[1:], "--num-classes", 4, "--workers", 0
        )


def test_a_truncated_tar(tars: Path, fails: Callable) -> None:
    os.truncate(tars / "b.tar", (tars / "b.tar").stat().st_size // 2)
    for workers in (0, 1):
        assert "b.tar is truncated" in fails("index", tars, "--workers", workers)
    assert not (tars / "manifest.json").exists()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "c.tar holds no KEY.jpg with KEY.cls"),
        ({"README": b"hello"}, "c.tar holds no KEY.jpg with KEY.cls"),
        ({"1.jpg": b"", "1.cls": b"0", "2.jpg": b""}, "c.tar: 2.jpg has no 2.cls, its label, beside it"),
        ({"1.jpg": b"", "1.cls": b"0", "2.cls": b"0"}, "c.tar: 2.cls has no 2.jpg beside it"),
        ({"1.png": b"", "1.cls": b"0"}, "c.tar: 1.cls has no 1.jpg beside it"),
        ({"1.jpg": b"", "1.cls": b"Al"}, "c.tar: 1.cls holds b'Al', which is not an integer label"),
        ({"1.jpg": b"", "1.cls": b"1.0"}, "c.tar: 1.cls holds b'1.0', which is not an integer label"),
        ({"1.jpg": b"", "1.cls": b""}, "c.tar: 1.cls holds b'', which is not an integer label"),
        ({"1.jpg": b"", "1.cls": b"-1"}, "c.tar: 1.cls holds -1; labels are integers from 0"),
        ({"1.jpg": b"", "1.cls": b"9999999999"}, "c.tar: 1.cls holds 9999999999; labels are"),
        ({"1.jpg": b"", "1.jpeg": b"", "1.cls": b"1"}, "c.tar: 1.jpeg comes twice"),
    ],
)
def test_members_that_are_no_samples(
    tars: Path, pack: Pack, fails: Callable, members: dict[str, bytes], expected: str
) -> None:
    pack("c.tar", members)
    assert expected in fails("index", tars, "--workers", 0)


def test_empty_file_or_no_tar(tars: Path, tmp_path: Path, fails: Callable) -> None:
    (tars / "c.tar").write_bytes(b"")
    assert "c.tar is empty (0 bytes)" in fails("index", tars, "--workers", 0)
    (tars / "c.tar").write_bytes(b"hello" * 1000)
    assert "c.tar is not a plain tar" in fails("index", tars, "--workers", 0)
    assert "missing or no folder" in fails("index", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no *.tar" in fails("index", tmp_path / "empty")


def test_a_dataset_of_ours(faces: Path, tmp_path: Path, run: Callable, fails: Callable) -> None:
    run("folder", faces, tmp_path / "out", "--workers", 0)
    assert "was made by data_prep and has its index" in fails("index", tmp_path / "out")


def test_a_folder_that_cannot_be_written(tars: Path, fails: Callable) -> None:
    (tars / "manifest.json").mkdir()
    assert f"cannot write in {tars}" in fails("index", tars, "--workers", 0)
