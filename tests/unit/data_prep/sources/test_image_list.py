"""`lists`: images and who is on them, a line each."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep import images
from data_prep.images import RejectedImage
from data_prep.passes.source import Face
from data_prep.sources.image_list import ImageList
from lightning_face.errors import DataError


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def call(text: bytes) -> Path:
        (tmp_path / "list.txt").write_bytes(text)
        return tmp_path / "list.txt"

    return call


def faces_of(source: ImageList) -> list[Face | str]:
    """Faces, or what was rejected and why."""
    worker, faces = pickle.loads(pickle.dumps(source)), list[Face | str]()
    for item in source.items():
        try:
            faces.append(worker.make(item))
        except RejectedImage as reason:
            faces.append(f"{item}: {reason}")
    return faces


def test_tabs_or_blanks(faces: Path, write: Callable) -> None:
    (faces / "a b.jpg").write_bytes((faces / "Bo" / "Bo_0001.jpg").read_bytes())
    text = "a b.jpg\tBo Bee\r\n\na b.jpg 7\nAl/Al_0002.jpg  Zo\u00eb\n./Al//Al_0002.jpg 7"
    found = faces_of(ImageList(write(text.encode()), faces, 0, 95))
    assert [face.identity for face in found if isinstance(face, Face)] == ["Bo Bee", "7", "Zo\u00eb", "7"]
    expected = [faces / "a b.jpg"] * 2 + [faces / "Al" / "Al_0002.jpg"] * 2
    assert [face.jpeg for face in found if isinstance(face, Face)] == [path.read_bytes() for path in expected]


def test_absolute_paths_below_the_root(faces: Path, write: Callable) -> None:
    file = write(f"{faces}/Al/Al_0001.jpg 1\n/etc/passwd 2\n".encode())
    assert isinstance(faces_of(ImageList(file, Path("/"), 0, 95))[0], Face)
    good, bad = faces_of(ImageList(file, faces, 0, 95))
    assert isinstance(good, Face) and isinstance(bad, str) and "the path leaves" in bad


def test_bad_lines_and_files_are_rejected_by_line(
    faces: Path, write: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 5000)
    (faces / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(faces / "pipe.jpg")
    (faces / "long.jpg").write_bytes(bytes(5001))
    (faces / os.fsdecode(b"\xff.jpg")).write_bytes((faces / "Al" / "Al_0001.jpg").read_bytes())
    bad = {
        b"alone.jpg": "expected PATH<tab>IDENTITY",
        b"\tname": "no regular file",
        b"../faces/Al/Al_0001.jpg 1": "the path leaves",
        b"Al/../../x.jpg 1": "the path leaves",
        b"Al/Al_0001.jpg \xff": r"the identity b'\xff' is not UTF-8",
        b"Al/Al_0001.jpg a/b": "the identity 'a/b' is not a name",
        b"Al/Al_0001.jpg ..": "the identity '..' is not a name",
        b"Al/Al_0001.jpg\t ": "the identity '' is not a name",
        b"missing.jpg 1": "cannot be read: No such file",
        b"loop.jpg 1": "cannot be read: Too many levels of symbolic links",
        b"pipe.jpg 1": "no regular file",
        b"Al 1": "no regular file",
        b"a\0b.jpg 1": "cannot be read: embedded null byte",
        b"long.jpg 1": "5,001 bytes are more than 5,000",
    }
    *found, good = faces_of(ImageList(write(b"\n".join([*bad, b"\xff.jpg 1"])), faces, 0, 95))
    for number, (rejected, reason) in enumerate(zip(found, bad.values(), strict=True), 1):
        assert isinstance(rejected, str) and rejected.startswith(f"line {number}: ") and reason in rejected, rejected
    assert isinstance(good, Face)


def test_items_tell_changed_files(faces: Path, write: Callable) -> None:
    source = ImageList(write(b"Al/Al_0001.jpg 1\nAl/Al_0001.jpg 1\n"), faces, 0, 95)
    before = [repr(item) for item in source.items()]
    with (faces / "Al" / "Al_0001.jpg").open("ab") as file:
        file.write(b" ")
    assert len({*before, *(repr(item) for item in source.items())}) == 4


def test_command(faces: Path, tmp_path: Path, write: Callable, run: Callable, fails: Callable) -> None:
    file = write(b"Al/Al_0001.jpg Al\nBo/Bo_0001.jpg Bo\nBo/Bo_0001.jpg Bo\nBo/Bo_0001.jpg Al\nCy/none.jpg Cy\n")
    code, out, _ = run("lists", file, tmp_path / "out", "--root", faces, "--workers", 0)
    assert code == 0 and "2 images of 2 identities" in out
    rejected = (tmp_path / "out" / "rejected.csv").read_text()
    assert (
        rejected.count("duplicate of line 2: Bo/Bo_0001.jpg") == 2 and "line 5: Cy/none.jpg,cannot be read" in rejected
    )
    assert run("check", tmp_path / "out", "--workers", 0).code == 0
    assert "none of the 5 images is left" in fails("lists", file, tmp_path / "other", "--workers", 0)
    assert "--root is the folder" in fails("lists", file, tmp_path / "third", "--root", tmp_path / "nowhere")
    assert "cannot read" in fails("lists", tmp_path / "nowhere.txt", tmp_path / "third", "--root", faces)
    with pytest.raises(DataError, match="cannot read"):
        list(ImageList(tmp_path / "nowhere.txt", faces, 0, 95).items())
