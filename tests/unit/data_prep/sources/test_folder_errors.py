"""What `folder` says of sources and places that cannot work."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", [b"Al\nBo", b"\xff\xfe"])
def test_names_that_are_no_line_of_utf8(faces: Path, tmp_path: Path, fails: Callable, name: bytes) -> None:
    (tmp_path / "faces" / name.decode(errors="surrogateescape")).mkdir()
    assert "one line of UTF-8" in fails("folder", faces, tmp_path / "out")


def test_a_finished_dataset_that_lost_a_shard(faces: Path, tmp_path: Path, run: Callable, fails: Callable) -> None:
    run("folder", faces, tmp_path / "out", "--workers", 0)
    (tmp_path / "out" / "shard-000000.tar").unlink()
    assert "shard-000000.tar is missing" in fails("folder", faces, tmp_path / "out", "--workers", 0)


def test_source_missing_empty_or_without_identities(tmp_path: Path, make_faces: Callable, fails: Callable) -> None:
    assert "missing or no folder" in fails("folder", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "has no folders" in fails("folder", tmp_path / "empty", tmp_path / "out")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(b"")
    assert "has no folders" in fails("folder", tmp_path / "flat", tmp_path / "out")
    (tmp_path / "hollow" / "Al").mkdir(parents=True)
    assert "hold no images" in fails("folder", tmp_path / "hollow", tmp_path / "out")
    make_faces({"Al": 1}, folder="above/train")
    assert f"perhaps {tmp_path / 'above' / 'train'} is" in fails("folder", tmp_path / "above", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_readable(faces: Path, tmp_path: Path, fails: Callable) -> None:
    for path in faces.glob("*/*"):
        path.write_bytes(b"no image")
    assert "none of the 10 images is left" in fails("folder", faces, tmp_path / "out", "--workers", 0)
    assert len((tmp_path / "out" / "rejected.csv").read_text().splitlines()) == 11


def test_out_cannot_be_written(faces: Path, tmp_path: Path, fails: Callable) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in fails("folder", faces, tmp_path / "file")
    assert "cannot write" in fails("folder", faces, tmp_path / "file" / "out")
    assert "cannot write /proc/out" in fails("folder", faces, "/proc/out")


def test_out_holds_something_else(faces: Path, tmp_path: Path, fails: Callable) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert "not empty and was not made by this command" in fails("folder", faces, tmp_path / "out")


def test_out_in_source(faces: Path, fails: Callable) -> None:
    assert "would be taken for an identity" in fails("folder", faces, faces / "out")
