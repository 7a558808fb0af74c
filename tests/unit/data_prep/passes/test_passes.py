"""The bytes of a dataset do not depend on workers, parts or kills; what a disk or a part lacks is one line."""

import functools
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.images import RejectedImage
from data_prep.passes import spool
from data_prep.passes.merge import merge
from data_prep.passes.parts import Part, alone, gathering
from data_prep.passes.recipe import Recipe
from data_prep.passes.source import Face
from data_prep.tars import members
from lightning_face.errors import ConfigError, DataError
from tests.disk import full_disk
from tests.unit.data_prep.plain import Plain, PlainItem, plain, write

Contents = Callable[[Path], dict[str, bytes]]

RECIPE = Recipe(shard_samples=6, min_images=2, exclude=("Ex",), seed=3)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "CHUNK_ITEMS", 4)


@pytest.fixture(scope="module")
def source() -> Plain:
    """30 images in 8 chunks: duplicates, unusable ones, someone excluded and someone with a single image."""
    names = ["Bo"] * 9 + ["Cy"] + ["Ex"] * 3 + ["Al"] * 17
    jpegs = [b"%d" % number * 9 for number in range(30)]
    jpegs[5], jpegs[20], jpegs[25] = b"", jpegs[2], b""
    return plain(*zip(names, jpegs, strict=True))


@pytest.fixture(scope="module")
def whole(source: Plain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "CHUNK_ITEMS", 4)
        write(tmp_path_factory.mktemp("whole") / "out", source, RECIPE)
    return tmp_path_factory.getbasetemp() / "whole0" / "out"


def killed(call: Callable[[], object], at: int) -> bool:
    """Call in a process that is killed when it flushes for the `at`-th time; whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            flush, flushes = os.fsync, itertools.count(1)
            os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL) if next(flushes) == at else flush(file)
            call()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), num_parts=st.sampled_from([1, 1, 2, 3]))
def test_parts_in_any_order_killed_at_any_time(
    source: Plain,
    whole: Path,
    contents: Contents,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    num_parts: int,
) -> None:
    out = tmp_path_factory.mktemp("out") / "out"
    parts = [Part(number, num_parts) for number in data.draw(st.permutations(range(1, num_parts + 1)))]
    steps = [functools.partial(write, out, source, RECIPE, part) for part in parts]
    if num_parts > 1:
        steps.append(lambda: merge(out, 1.0, 0))
    for step in steps:
        for at in data.draw(st.lists(st.integers(1, 60), max_size=2)):
            killed(step, at)
        step()
    assert contents(out) == contents(whole)


DRIVER = """
import os, signal, sys
from data_prep.passes import gatherer, shards, spool
from data_prep.__main__ import main

spool.CHUNK_ITEMS = 4

def orphaned(move):
    def call(temporary, path):
        if path.name == sys.argv[-1]:
            os.kill(os.getppid(), signal.SIGKILL)
        move(temporary, path)
    return call

gatherer.move_into_place = orphaned(gatherer.move_into_place)
shards.move_into_place = orphaned(shards.move_into_place)
if __name__ == "__main__":
    main(sys.argv[1:-1])
"""


@pytest.mark.parametrize("last", ["chunk-000004.faces", "shard-000003.tar"])
def test_the_main_process_is_killed(
    make_faces: Callable, tmp_path: Path, run: Callable, contents: Contents, last: str
) -> None:
    """By a worker, in the middle of either pass; the workers leave by themselves."""
    faces, out, driver = make_faces({"Al": 15, "Bo": 15}), tmp_path / "out", tmp_path / "driver.py"
    (faces / "Al" / "Al_0002.jpg").write_bytes(b"no image")
    driver.write_text(DRIVER)
    options = ("--size", 32, "--shard-samples", 4)
    run("folder", faces, tmp_path / "whole", *options, "--workers", 0)
    command = ["folder", faces, out, *options, "--workers", 2, last]
    root = str(Path(__file__).parents[4])
    # The output ends when the last worker has left.
    process = subprocess.run(
        [sys.executable, driver, *map(str, command)], env={**os.environ, "PYTHONPATH": root}, capture_output=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    finished = [path.stem for path in (out / ".unfinished").glob(f"{last[:5]}-*.json")]
    inodes = {path: path.stat().st_ino for path in out.glob("shard-*.tar") if path.stem in finished}
    assert not (out / "manifest.json").exists()
    printed = run(*command[:-2], 0).out
    if last.startswith("chunk"):
        assert f"gathered already: {len(finished)}\n" in printed
    else:
        assert f"{len(finished)} of 8 shards are there already" in printed
        assert {path: path.stat().st_ino for path in inodes} == inodes
    assert contents(out) == contents(tmp_path / "whole")


def test_bytes_do_not_depend_on_workers(source: Plain, whole: Path, tmp_path: Path, contents: Contents) -> None:
    write(tmp_path / "out", source, RECIPE, workers=2)
    assert contents(tmp_path / "out") == contents(whole)


def test_nothing_is_left_out_and_all_stays_in_order(tmp_path: Path) -> None:
    faces = [("Cy", b"1"), ("Al", b"22"), ("Cy", b"1"), ("Bo", b"3"), ("Al", b"1")]
    write(tmp_path / "out", plain(*faces), Recipe(shard_samples=3, shuffle=False, keep_all=True))
    read = []
    for number in range(2):
        data = (tmp_path / "out" / f"shard-{number:06d}.tar").read_bytes()
        read += [data[m.offset : m.offset + m.size] for m in members(tmp_path / "out" / f"shard-{number:06d}.tar")]
    labels = {"Al": b"0", "Bo": b"1", "Cy": b"2"}
    assert read == [part for who, jpeg in faces for part in (jpeg, labels[who])]
    assert (tmp_path / "out" / "rejected.csv").read_text() == "source,reason\n"


@pytest.fixture
def gathered(source: Plain, tmp_path: Path) -> Path:
    """Two parts of three."""
    for number in (1, 3):
        write(tmp_path / "out", source, RECIPE, Part(number, 3))
    return tmp_path / "out"


def test_a_part_says_what_is_left(capsys: pytest.CaptureFixture[str], gathered: Path, source: Plain) -> None:
    lines = capsys.readouterr().out.splitlines()
    after = f"then `python -m data_prep merge {gathered}`"
    assert lines[0] == f"{gathered}: part 1/3 is gathered; part(s) 2/3, 3/3 are left, {after}"
    assert lines[1] == f"{gathered}: part 3/3 is gathered; part(s) 2/3 are left, {after}"
    write(gathered, source, RECIPE, Part(2, 3))
    assert "all parts are: `python -m data_prep merge " in capsys.readouterr().out
    write(gathered, source, RECIPE, Part(2, 3))
    assert "all parts are" in capsys.readouterr().out


def test_merge_wants_all_parts_and_no_other_number_of_them(gathered: Path, source: Plain, fails: Callable) -> None:
    assert "not gathered yet: part(s) 2/3; give the command with --part 2/3" in fails("merge", gathered)
    with pytest.raises(ConfigError, match=r"was begun in 3 part\(s\), not 2"):
        write(gathered, source, RECIPE, Part(1, 2))
    with pytest.raises(ConfigError, match=r"was begun in 3 part\(s\), not 1; give --part 1/3"):
        write(gathered, source, RECIPE)


def test_merge_of_nothing(tmp_path: Path, fails: Callable) -> None:
    assert "no dataset was begun there" in fails("merge", tmp_path)


def test_parts_that_saw_other_numbers_of_images(gathered: Path, source: Plain, fails: Callable) -> None:
    write(gathered, Plain(source.planned[:-1]), RECIPE, Part(2, 3))
    assert "the source had 30 images for part 1/3 and 29 for part 2/3" in fails("merge", gathered)


def test_one_part_and_one_merge_at_a_time(gathered: Path, source: Plain) -> None:
    work = gathered / ".unfinished"
    with gathering(work, Part(2, 3)), pytest.raises(ConfigError, match="another run is writing part 2/3 of"):
        write(gathered, source, RECIPE, Part(2, 3))
    write(gathered, source, RECIPE, Part(2, 3))
    with alone(work / "merge.lock", gathered), pytest.raises(ConfigError, match=f"another run is writing {gathered};"):
        merge(gathered, 1.0, 0)


def test_a_changed_source_is_noticed(source: Plain, tmp_path: Path, fails: Callable) -> None:
    assert killed(lambda: write(tmp_path / "out", source, RECIPE), at=12)
    assert "not gathered yet: part(s) 1/1; give the same command again" in fails("merge", tmp_path / "out")
    changed = list(source.planned)
    changed[1] = changed[1]._replace(jpeg=b"other")
    with pytest.raises(ConfigError, match="held other images, from Bo/0 on; remove"):
        write(tmp_path / "out", Plain(changed), RECIPE)
    with pytest.raises(ConfigError, match="held other images, from its end on; remove"):
        write(tmp_path / "out", Plain(source.planned[:4]), RECIPE)


@pytest.mark.parametrize("damage", ["truncate faces", "remove faces", "damage sidecar"])
def test_chunks_that_do_not_match_their_sidecar_are_made_again(
    source: Plain, whole: Path, tmp_path: Path, contents: Contents, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    out = tmp_path / "out"
    assert killed(lambda: write(out, source, RECIPE), at=17)
    faces, sidecar = (out / ".unfinished" / f"chunk-000001.{suffix}" for suffix in ("faces", "json"))
    if damage == "truncate faces":
        os.truncate(faces, 10)
    elif damage == "remove faces":
        faces.unlink()
    else:
        sidecar.write_text("{")
    write(out, source, RECIPE)
    assert "chunks of images that were gathered already: 3" in capsys.readouterr().out
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("damage", ["truncate tar", "remove tar", "damage sidecar", "other selection"])
def test_shards_that_do_not_match_their_sidecar_are_made_again(
    source: Plain, whole: Path, tmp_path: Path, contents: Contents, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    out = tmp_path / "out"
    assert killed(lambda: write(out, source, RECIPE), at=50)  # after three of four shards
    tar, sidecar = out / "shard-000001.tar", out / ".unfinished" / "shard-000001.json"
    if damage == "truncate tar":
        os.truncate(tar, 1000)
    elif damage == "remove tar":
        tar.unlink()
    elif damage == "damage sidecar":
        sidecar.write_text("{")
    else:
        sidecar.write_text(sidecar.read_text().replace('"selection_sha256": "', '"selection_sha256": "f'))
    write(out, Plain([]), RECIPE)  # which is not read again
    assert "2 of 4 shards are there already" in capsys.readouterr().out
    assert contents(out) == contents(whole)


def test_a_lost_chunk_is_one_line_at_merge(gathered: Path, source: Plain, fails: Callable) -> None:
    write(gathered, source, RECIPE, Part(2, 3))
    os.truncate(gathered / ".unfinished" / "chunk-000001.faces", 3)
    assert "chunk-000001.faces is missing or damaged; remove" in fails("merge", gathered, "--workers", 0)


@pytest.mark.parametrize(("limit", "file"), [(1000, "chunk-000000.faces"), (30_000, "shard-000000.tar")])
def test_a_full_disk(
    tmp_path: Path, whole: Path, fails: Callable, run: Callable, make_faces: Callable, limit: int, file: str
) -> None:
    faces = make_faces({"Al": 15, "Bo": 15}, size=(60, 60), quality=100)
    command = ("folder", faces, tmp_path / "out", "--workers", 0)
    with full_disk(limit):
        assert f"{file}: File too large; mend it and start again" in fails(*command)
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert run(*command).code == 0 and run("check", tmp_path / "out", "--workers", 0).code == 0


class Die(Plain):
    def make(self, item: PlainItem) -> Face:
        os._exit(9)


class Reject(Plain):
    def make(self, item: PlainItem) -> Face:
        raise RejectedImage("too ugly")


class Unreadable(Plain):
    def make(self, item: PlainItem) -> Face:
        raise OSError(5, "Input/output error")


def test_a_worker_that_dies_ends_the_run_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a worker process died"):
        write(tmp_path / "out", Die([PlainItem("it", "Al", b"")]), workers=1)


def test_an_error_in_a_worker_reaches_the_user(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it: too ugly; a verification set needs every image"):
        write(tmp_path / "out", Reject([PlainItem("it", "Al", b"")] * 9), Recipe(keep_all=True), workers=1)


def test_an_unreadable_image_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 1 images is left"):
        write(tmp_path / "out", Unreadable([PlainItem("it", "Al", b"")]))
    assert (tmp_path / "out" / "rejected.csv").read_text() == "source,reason\nit,cannot be read: Input/output error\n"
