"""Tar headers written and read without tarfile, compared with it."""

import io
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep import tars
from lightning_face.errors import DataError

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pack(path: Path, files: dict[str, bytes], format: int, mtime: float = 0) -> None:
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            tar.addfile(info, io.BytesIO(data))


def read_with_tarfile(path: Path) -> list[tars.Member]:
    with tarfile.open(path) as tar:
        return [tars.Member(info.name, info.offset_data, info.size) for info in tar if info.isfile()]


@QUICK
@given(st.from_regex(r"[a-zA-Z0-9_.]{1,99}", fullmatch=True), st.binary(max_size=1500))
def test_what_is_written_tarfile_reads(tmp_path: Path, name: str, data: bytes) -> None:
    body = tars.header(name, len(data)) + data + tars.padding(len(data))
    path = tmp_path / "a.tar"
    path.write_bytes(body + tars.end_of_archive(len(body)))
    assert path.stat().st_size % tarfile.RECORDSIZE == 0
    with tarfile.open(path) as tar:
        (info,) = tar.getmembers()
        file = tar.extractfile(info)
        assert file is not None and file.read() == data
    assert (info.name, info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) == (
        name,
        0,
        0,
        0,
        "",
        "",
        0o644,
    )
    assert tars.members(path) == [tars.Member(name, 512, len(data))]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mtime", [0, 1234.5])
def test_members_are_those_of_tarfile(tmp_path: Path, format: int, mtime: float) -> None:
    long = "folder/" * 12 + "name.jpg" if format == tarfile.USTAR_FORMAT else "x" * 300 + ".jpg"
    pack(tmp_path / "a.tar", {"a.jpg": b"1" * 700, long: b"2", "empty.cls": b"", "ü.cls": b"3" * 512}, format, mtime)
    found = tars.members(tmp_path / "a.tar")
    assert found == read_with_tarfile(tmp_path / "a.tar")
    assert [member.name for member in found] == ["a.jpg", long, "empty.cls", "ü.cls"]


def test_folders_and_links_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a.jpg").write_bytes(b"a")
    (tmp_path / "in" / "sub" / "link.jpg").symlink_to("../a.jpg")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "in", "in")
    assert [member.name for member in tars.members(tmp_path / "a.tar")] == ["in/a.jpg"]


@QUICK
@given(st.data())
def test_every_cut_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    pack(tmp_path / "whole.tar", {"a.jpg": b"1" * 700, "b.jpg": b"2" * 512}, tarfile.PAX_FORMAT, 1.5)
    whole = (tmp_path / "whole.tar").read_bytes()
    end = tars.members(tmp_path / "whole.tar")[-1]
    cut = data.draw(st.integers(0, end.offset + end.size + 511))
    (tmp_path / "cut.tar").write_bytes(whole[:cut])
    with pytest.raises(DataError, match=r"cut\.tar is (empty|truncated)"):
        tars.members(tmp_path / "cut.tar")


@QUICK
@given(st.integers(0, 511), st.integers(1, 255))
def test_every_changed_byte_of_a_header_is_noticed(tmp_path: Path, at: int, change: int) -> None:
    body = tars.header("a.jpg", 3) + b"abc" + tars.padding(3)
    header = bytearray(tars.header("b.jpg", 3))
    header[at] ^= change
    path = tmp_path / "a.tar"
    path.write_bytes(body + bytes(header) + b"abc" + tars.padding(3) + tars.end_of_archive(0))
    try:
        found = tars.members(path)
    except DataError as error:
        assert "a.tar is damaged: no valid header at byte 1024" in str(error)
    else:  # a blank or zero after the checksum's digits means the same
        assert 148 <= at < 156 and found[1] == tars.Member("b.jpg", 1536, 3)


def test_compressed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        info = tarfile.TarInfo("a.jpg")
        info.size = 2000
        tar.addfile(info, io.BytesIO(random.Random(0).randbytes(info.size)))
    with pytest.raises(DataError, match="not a plain tar"):
        tars.members(tmp_path / "a.tar")


def test_large_sizes_in_gnu_form(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = 2**40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DataError, match=f"a.jpg has {2**40} bytes"):
        tars.members(tmp_path / "a.tar")
