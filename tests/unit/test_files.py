"""Files that are whole or absent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_face.files import write_atomically


def test_writes_and_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_replaces_what_a_killed_run_left(tmp_path: Path) -> None:
    (tmp_path / ".file.tmp").write_bytes(b"half of much longer")
    write_atomically(tmp_path / "file", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"new")]


def test_keeps_the_old_bytes_and_cleans_up_if_it_cannot_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_flushes_the_file_before_and_the_folder_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    path = tmp_path / "file"
    monkeypatch.setattr("lightning_face.files.flush", lambda flushed: seen.append((flushed.name, path.exists())))
    write_atomically(path, b"new")
    assert seen == [(".file.tmp", False), (tmp_path.name, True)]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", b"")


def test_pieces(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", (piece for piece in (b"a", b"", b"bc")))
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_piece_that_cannot_be_made_leaves_what_was_there(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise ValueError("damaged")

    write_atomically(tmp_path / "file", b"old")
    with pytest.raises(ValueError, match="damaged"):
        write_atomically(tmp_path / "file", pieces())
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_bytes() == b"old"
