"""Bad input where a user meets it: each command ends with one line, or lists what it left out."""

import base64
import csv
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.rights import without_rights
from tests.unit.data_prep.sources.test_insightface import pack, write

SOURCES = ("folder", "lists", "vggface2", "archive", "msceleb1m", "recordio")


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str, dict[str, bytes]], list[object]]:
    """Writes image files in the form of a source; returns the command that reads them."""

    def call(kind: str, files: dict[str, bytes]) -> list[object]:
        folder = tmp_path / kind
        folder.mkdir()
        match kind:
            case "folder" | "vggface2" | "lists":
                (folder / "Al").mkdir()
                for name, data in files.items():
                    (folder / "Al" / name).write_bytes(data)
                if kind != "lists":
                    return [kind, folder]
                (folder / "list.txt").write_text("".join(f"Al/{name}\tAl\n" for name in files))
                return [kind, folder / "list.txt"]
            case "archive":
                with tarfile.open(folder / "train.tar.gz", "w:gz") as tar:
                    for name, data in files.items():
                        member = tarfile.TarInfo(f"train/Al/{name}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                return ["vggface2", folder / "train.tar.gz"]
            case "msceleb1m":
                lines = [b"\t".join([b"m.1", b"0", b"", b"", b"0", b"", base64.b64encode(d)]) for d in files.values()]
                (folder / "faces.tsv").write_bytes(b"\n".join(lines))
                return [kind, folder / "faces.tsv"]
        write(folder, [pack([len(files) + 1, len(files) + 1]), *(pack(1, data) for data in files.values())])
        return [kind, folder]

    return call


def animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (24, 24), color) for color in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def sixteen_bits() -> bytes:
    file = io.BytesIO()
    Image.new("I;16", (24, 24), 0x8000).save(file, "PNG")
    return file.getvalue()


def rejected(out: Path) -> list[str]:
    with (out / "rejected.csv").open() as file:
        return [f"{row['source']}: {row['reason']}" for row in csv.DictReader(file)]


@pytest.fixture
def files(encode: Callable) -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    bomb = bytearray(encode(6))
    start = bomb.index(b"\xff\xc0") + 5  # height and width
    bomb[start : start + 4] = 2 * (60000).to_bytes(2, "big")
    return {
        "good.jpg": encode(1),
        "empty.jpg": b"",
        "cut.jpg": encode(2, size=(64, 64))[:600],
        "cmyk.jpg": encode(3, mode="CMYK"),
        "grey.jpg": encode(4, mode="L"),
        "deep.png": sixteen_bits(),
        "moving.gif": animated(),
        "turned.jpg": encode(5, size=(32, 16), exif=exif),
        "bomb.jpg": bytes(bomb),
    }


@pytest.mark.parametrize("kind", SOURCES)
def test_images_of_every_kind_from_every_source(
    kind: str, files: dict[str, bytes], source: Callable, tmp_path: Path, run: Callable
) -> None:
    command, expected = source(kind, files), ["empty file", "damaged JPEG", "60000 x 60000 pixels are more"]
    if kind in ("folder", "vggface2"):
        expected = [expected[2], expected[1], expected[0]]  # by the names of the files
    size = () if kind in ("vggface2", "archive") else ("--size", 24)
    code, out, _ = run(*command, tmp_path / "out", "--workers", 0, *size)
    assert code == 0 and "6 images of 1 identities" in out
    for line, reason in zip(rejected(tmp_path / "out"), expected, strict=True):
        assert f": {reason}" in line
    assert run("check", tmp_path / "out", "--workers", 0).code == 0
    limited = run(*command, tmp_path / "other", "--workers", 0, *size, "--max-rejected", 0.1)
    assert limited.code == 2 and "more than --max-rejected 0.1" in limited.err
    assert not (tmp_path / "other" / "manifest.json").exists()


MEASURE = """
import resource, sys
from pathlib import Path
from data_prep.images import RejectedImage, perceptual_hash, to_jpeg
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    try:
        to_jpeg(path.read_bytes(), 112, 95)
        sys.exit(f"{path} was decoded")
    except RejectedImage:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_decompression_bombs_take_no_memory(tmp_path: Path) -> None:
    bomb = Image.new("L", (9000, 9000))
    formats = {"PNG": {}, "GIF": {}, "TIFF": {"compression": "tiff_lzw"}, "JPEG": {}, "WEBP": None}
    paths = [tmp_path / f"bomb.{format}" for format, options in formats.items() if options is not None]
    for path in paths:
        bomb.save(path, path.suffix[1:], **formats[path.suffix[1:]])
    done = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000  # kB, where pixels of one would take 81 MB


def inputs(tmp_path: Path, faces: Path, bad: str) -> list[list[object]]:
    """Every command, with a path that cannot be read wherever it takes one."""
    out, path = tmp_path / "out", tmp_path / bad
    given = [
        ["folder", path, out], ["folder", faces, out, "--people", path], ["folder", faces, out, "--exclude", path],
        ["lists", path, out], ["lists", __file__, out, "--root", path], ["recordio", path, out],
        ["msceleb1m", path, out], ["msceleb1m", __file__, out, "--clean-list", path],
        ["msceleb1m", __file__, out, "--names", path],
        ["vggface2", path, out], *(["vggface2", faces, out, flag, path] for flag in
        ("--landmarks", "--boxes", "--image-list", "--names")),
        ["bin", path, out], ["pairs", path, tmp_path / "pairs.txt", out], ["pairs", faces, path, out],
        ["index", path], ["check", path], ["merge", path], ["overlap", path, path],
    ]  # fmt: skip
    return given


@pytest.mark.parametrize("bad", ["loop", "loop/x", "x" * 300, "closed", "closed/x", "missing"])
def test_paths_that_cannot_be_read(
    bad: str, faces: Path, tmp_path: Path, fails: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0)
    monkeypatch.chdir(tmp_path)  # folders above, which others may not enter, do not matter from here
    tmp_path.chmod(0o777)
    Path("pairs.txt").write_text("1\nAl\t1\t4\nAl\t1\tBo\t2\n")
    for command in inputs(Path(), Path("faces"), bad):
        with without_rights():
            assert bad[:20] in fails(*command, *(() if command[0] == "merge" else ("--workers", 0))), command
        assert not Path("out").exists(), command


def test_folders_that_cannot_be_written(
    faces: Path, tmp_path: Path, fails: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0)
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    for out in ("loop", "loop/x", "closed", "closed/x", "out", "x" * 300):
        with without_rights():
            assert f"cannot write {out}" in fails("folder", "faces", out, "--workers", 0)


@pytest.mark.parametrize("kind", ["folder", "vggface2", "lists"])
def test_an_image_that_cannot_be_read_is_listed(
    kind: str, encode: Callable, source: Callable, tmp_path: Path, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = source(kind, {"a.jpg": encode(0), "b.jpg": encode(1)})
    (tmp_path / kind / "Al" / "a.jpg").chmod(0)
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    with without_rights():
        code, out, _ = run(kind, command[1].relative_to(tmp_path), "out", "--workers", 0)
    assert code == 0 and "1 images of 1 identities" in out
    assert "cannot be read: Permission denied" in Path("out/rejected.csv").read_text()


@pytest.mark.parametrize("kind", ["folder", "vggface2"])
def test_a_loop_of_links_among_the_images(
    kind: str, encode: Callable, source: Callable, tmp_path: Path, fails: Callable
) -> None:
    command = source(kind, {"a.jpg": encode(0)})
    (tmp_path / kind / "Al" / "loop.jpg").symlink_to("loop.jpg")
    assert "Too many levels of symbolic links" in fails(*command, tmp_path / "out", "--workers", 0)
    (tmp_path / kind / "Al" / "loop.jpg").unlink()
    (tmp_path / kind / "Loop").symlink_to("Loop")
    assert "Too many levels of symbolic links" in fails(*command, tmp_path / "out", "--workers", 0)


def test_lines_of_a_table_that_cannot_be_used_are_listed(tmp_path: Path, encode: Callable, run: Callable) -> None:
    image = base64.b64encode(encode(0))
    names = (b"m.1", b"../m.1", b"a/b", b"\xff", b"..")
    lines = [b"\t".join([name, b"0", b"", b"", b"0", b"", image]) for name in names]
    (tmp_path / "faces.tsv").write_bytes(b"\n".join([*lines, lines[0][:-9] + b"!!", lines[0][:8]]))
    assert run("msceleb1m", tmp_path / "faces.tsv", tmp_path / "out", "--workers", 0).code == 0
    reasons = ["'../m.1' is not a name", "'a/b' is not a name", "is not UTF-8", "'..' is not a name", "broken base64"]
    for number, (line, reason) in enumerate(
        zip(rejected(tmp_path / "out"), [*reasons, "5 columns, not 7"], strict=True), 2
    ):
        assert line.startswith(f"faces.tsv line {number}: ") and reason in line


def test_names_in_lists_and_archives_that_cannot_be_used_are_listed(
    tmp_path: Path, encode: Callable, run: Callable
) -> None:
    names = (b"Al", b"..", b"\xff", b"Al")
    (tmp_path / "a.jpg").write_bytes(encode(0))
    lines = [b"a.jpg\t%s\n" % name for name in (*names, b"a/b")]
    (tmp_path / "list.txt").write_bytes(b"".join([*lines, b"../a.jpg\tAl\n", b"x/../../a.jpg\tAl\n"]))
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for name in names:
            tar.add(tmp_path / "a.jpg", f"train/{os.fsdecode(name)}/a.jpg")
    unusable = ["is not a name", "is not UTF-8", "duplicate of"]
    leaving = ["is not a name", "the path leaves", "the path leaves"]
    for command, reasons in (("lists", "list.txt"), unusable + leaving), (("vggface2", "train.tar"), unusable):
        out = tmp_path / command[0]
        assert run(command[0], tmp_path / command[1], out, "--workers", 0).code == 0
        for line, reason in zip(rejected(out), reasons, strict=True):
            assert reason in line


def test_records_cut_short_or_with_the_index_of_others_leave_nothing(
    tmp_path: Path, encode: Callable, source: Callable, fails: Callable
) -> None:
    _, folder = source("recordio", {f"{number}.jpg": encode(number) for number in range(4)})
    write(tmp_path / "other", [pack([3, 3]), pack(1, encode(7, size=(60, 60))), pack(1, encode(8))])
    whole = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(whole[: len(whole) // 2])
    assert "ends at byte" in fails("recordio", folder, tmp_path / "out", "--workers", 0)
    (folder / "train.rec").write_bytes(whole)
    (folder / "train.idx").write_bytes((tmp_path / "other" / "train.idx").read_bytes())
    assert "no record begins at byte" in fails("recordio", folder, tmp_path / "out", "--workers", 0)
    assert not (tmp_path / "out").exists()
