"""MS-Celeb-1M: lines of a table become faces."""

import base64
import gzip
import io
import pickle
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.images import RejectedImage
from data_prep.passes.source import Face
from data_prep.sources import tsv_lines
from data_prep.sources.msceleb1m import MsCeleb1M
from lightning_face.errors import DataError

FACES = [("m.01", 0), ("m.01", 1), ("m.02", 0), ("m.03", 7)]


def line(mid: str, rank: int, image: bytes) -> bytes:
    rectangle = base64.b64encode(np.zeros(4, "<f4").tobytes())
    columns = [
        mid.encode(),
        b"%d" % rank,
        b"http://image",
        b"http://page",
        b"FaceId-0",
        rectangle,
        base64.b64encode(image),
    ]
    return b"\t".join(columns) + b"\r\n"


@pytest.fixture
def images(encode: Callable) -> list[bytes]:
    return [encode(seed) for seed in range(len(FACES))]


@pytest.fixture
def table(tmp_path: Path, images: list[bytes]) -> Path:
    lines = [line(mid, rank, image) for (mid, rank), image in zip(FACES, images, strict=True)]
    (tmp_path / "faces.tsv").write_bytes(b"".join(lines))
    return tmp_path / "faces.tsv"


def source(table: Path, clean_list: Path | None = None, names: Path | None = None, size: int = 0) -> MsCeleb1M:
    return MsCeleb1M(table, clean_list, names, size, 95)


def faces_of(source: MsCeleb1M) -> Iterator[Face | str]:
    """Faces, or where a line stands and why it was rejected."""
    worker = pickle.loads(pickle.dumps(source))
    for item in source.items():
        try:
            yield worker.make(pickle.loads(pickle.dumps(item)))
        except RejectedImage as reason:
            yield f"{item}: {reason}"


def test_all_lines(table: Path, images: list[bytes]) -> None:
    assert list(faces_of(source(table))) == [Face(mid, image) for (mid, _), image in zip(FACES, images, strict=True)]


@pytest.mark.parametrize("form", ["gzip", "gzips end to end", "parts", "standard input", "gzip on standard input"])
def test_every_form_gives_the_same(
    table: Path, images: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    plain, given = table.read_bytes(), tmp_path / "given"
    lines = plain.splitlines(keepends=True)
    match form:
        case "gzip":
            given.write_bytes(gzip.compress(plain))
        case "gzips end to end":
            given.write_bytes(gzip.compress(plain[:500]) + gzip.compress(plain[500:]))
        case "parts":
            given.mkdir()
            (given / "b.tsv").write_bytes(b"".join(lines[3:]))
            (given / "a.tsv.gz").write_bytes(gzip.compress(b"".join(lines[:3])))
            (given / "readme.txt").write_text("hello")
        case _:
            data = gzip.compress(plain) if form.startswith("gzip") else plain
            given = Path("-")
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data))))
    found = list(source(given).items())
    assert [(item.identity, item.base64) for item in found] == [
        (item.identity, item.base64) for item in source(table).items()
    ]
    assert str(found[3]) == {"parts": "b.tsv line 1", "gzip": "given line 4"}.get(form, str(found[3]))
    if given == Path("-"):
        assert str(found[3]) == "standard input line 4"


@pytest.mark.parametrize("order", ["{image} {label}\n", "{label} {image}\r\n"])
def test_a_clean_list_says_whom_an_image_shows(
    table: Path, images: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str], order: str
) -> None:
    listed = {
        "m.01/0-FaceId-0.jpg": "5",
        "m.02/0-FaceId-0.jpg": "5",
        "m.03/7-FaceId-0.jpg": "6",
        "m.04/0-FaceId-0.jpg": "7",
    }
    (tmp_path / "clean.txt").write_text(
        "".join(order.format(image=image, label=label) for image, label in listed.items())
    )
    found = list(faces_of(source(table, tmp_path / "clean.txt")))
    assert found == [Face("m.01", images[0]), Face("m.01", images[2]), Face("m.03", images[3])]
    assert "1 images are not in" in capsys.readouterr().out


def test_labels_of_one_mid_and_labels_that_are_mids(table: Path, tmp_path: Path) -> None:
    (tmp_path / "clean.txt").write_text(
        "m.01/0-FaceId-0.jpg 5\nm.01/1-FaceId-0.jpg 6\nm.03/7-FaceId-0.jpg m.09\n\nm.02/0-FaceId-0.jpg m.09\n"
    )
    found = [item.identity for item in source(table, tmp_path / "clean.txt").items()]
    assert found == ["m.01 (5)", "m.01 (6)", "m.09", "m.09"]


def test_a_long_clean_list(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.sources.msceleb1m_lists._ROWS_AT_A_TIME", 7)
    images = [f"m.{number:03d}/{number}-FaceId-0.jpg {number}\n" for number in range(100)]
    (tmp_path / "clean.txt").write_text("".join(images) + 2 * "m.03/7-FaceId-0.jpg 3\n")
    assert [item.identity for item in source(table, tmp_path / "clean.txt").items()] == ["m.003"]


def test_names_of_people(table: Path, tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text(
        'm.01\t"Al Bo"@it\nm.01\t"Al Beau"@en\nm.01\t"Al B"@fr\nm.02\t"Cy"@en\nm.03\t"Cy"@en\nm.04\t"a/b"@en\n'
    )
    found = [item.identity for item in source(table, names=tmp_path / "names.tsv").items()]
    assert found == ["Al Beau", "Al Beau", "Cy (m.02)", "Cy (m.03)"]


def test_damaged_lines_are_rejected_by_their_numbers(
    table: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsv_lines, "MAX_LINE_BYTES", 4000)
    good = line("m.01", 0, images[0])
    table.write_bytes(
        good[: len(good) // 2]  # cut short: its image is
        + b"\n"
        + good[:20]
        + b"\n\n"
        + good[:-9]
        + b"!==\n"
        + b"x" * 4000
        + b"y" * 9000
        + b"\n"
        + line("../m.01", 0, images[0])
        + line("m.\u00e9", 0, images[0]).replace("\u00e9".encode(), b"\xff")
        + line("m.01", 0, b"no image")
        + line("m.01", 0, b"")
        + good[:-2]
    )
    found = list(faces_of(source(table)))
    expected = [
        "line 1: (broken base64|damaged JPEG)",
        "line 2: the line has 4 columns, not 7",
        "line 4: broken base64",
        "line 5: the line is longer than",
        r"line 6: the identity '../m.01' is not a name",
        r"line 7: the identity b'm.\\xff' is not UTF-8",
        "line 8: not an image of a known format",
        "line 9: empty file",
    ]
    assert found.pop() == Face("m.01", images[0])
    for rejected, pattern in zip(found, expected, strict=True):
        assert isinstance(rejected, str) and re.match(f"faces.tsv {pattern}", rejected), rejected


def test_a_line_without_end_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[bytes]
) -> None:
    monkeypatch.setattr(tsv_lines, "MAX_LINE_BYTES", 1 << 20)
    with gzip.open(tmp_path / "faces.tsv.gz", "wb", 1) as file:
        for _ in range(40):
            file.write(bytes(1 << 20))
        file.write(b"\n" + line("m.01", 0, images[0]))
    tracemalloc.start()
    try:
        items = list(source(tmp_path / "faces.tsv.gz").items())
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert [item.problem[:18] for item in items] == ["the line is longer", ""]


def test_a_long_table_takes_little_memory(tmp_path: Path) -> None:
    long = line("m.01", 0, bytes(20_000))
    (tmp_path / "faces.tsv").write_bytes(long * 2000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in source(tmp_path / "faces.tsv").items()) == 2000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20  # of 54 MB
    finally:
        tracemalloc.stop()


def test_items_tell_changed_lines(table: Path, images: list[bytes]) -> None:
    before = [repr(item) for item in source(table).items()]
    assert len(set(before)) == 4
    table.write_bytes(table.read_bytes().replace(base64.b64encode(images[1]), base64.b64encode(images[1] + b" ")))
    after = [repr(item) for item in source(table).items()]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True, True]


def test_a_gzip_cut_short(table: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(table.read_bytes(), 0)[:2000])
    with pytest.raises(DataError, match=r"cut.gz cannot be read to its end: .* download it again"):
        list(source(tmp_path / "cut.gz").items())


@pytest.mark.parametrize(
    "text", ["m.01/0-FaceId-0.jpg\n", "m.01 5\n", "a/b c/d\n", f"{'m' * 130}/0.jpg 5\n", "a/b 5\na/b 6\n"]
)
def test_malformed_clean_lists(table: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "clean.txt").write_text(text)
    with pytest.raises(
        DataError, match=r"clean.txt (line 1: expected MID/IMAGE.jpg and a label|says two things of a/b)"
    ):
        list(source(table, tmp_path / "clean.txt").items())


def test_missing_and_malformed_files(table: Path, tmp_path: Path, fails: Callable) -> None:
    (tmp_path / "names.tsv").write_text('m.01 "Al"@en\n')
    with pytest.raises(DataError, match=r"names.tsv line 1: expected MID<tab>"):
        list(source(table, names=tmp_path / "names.tsv").items())
    (tmp_path / "loop.tsv").symlink_to("loop.tsv")
    for name in ("loop.tsv", "x" * 300):
        assert f"cannot read {tmp_path / name}: " in fails("msceleb1m", tmp_path / name, tmp_path / "out")
    for missing in (
        source(tmp_path / "no.tsv"),
        source(table, tmp_path / "no.txt"),
        source(table, None, tmp_path / "no.txt"),
    ):
        with pytest.raises(DataError, match=r"cannot read .*no.t.*: No such file"):
            list(missing.items())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \*.tsv or \*.tsv.gz"):
        list(source(tmp_path / "empty").items())


def test_size(table: Path, images: list[bytes]) -> None:
    face = next(faces_of(source(table, size=16)))
    assert isinstance(face, Face) and face.jpeg != images[0]


def test_command_in_a_pipe(table: Path, tmp_path: Path, run: Callable, contents: Callable) -> None:
    table.write_bytes(table.read_bytes() + b"m.01\tcut")
    with table.open("rb") as file:
        command = [sys.executable, "-m", "data_prep", "msceleb1m", "-", tmp_path / "out", "--workers", "0"]
        subprocess.run(command, stdin=file, check=True)
    assert 'standard input line 5,"the line has 2 columns' in (tmp_path / "out" / "rejected.csv").read_text()
    assert run("msceleb1m", table, tmp_path / "again", "--workers", 0).code == 0
    piped, read = contents(tmp_path / "out"), contents(tmp_path / "again")
    assert all(
        piped[name] == read[name] for name in ("manifest.json", "index.bin", "shard-000000.tar", "identities.txt")
    )
