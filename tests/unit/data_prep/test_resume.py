"""A run that was stopped is continued: the same bytes, and no finished shard made again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.images import RejectedImage
from data_prep.plan import Plan
from data_prep.record import alone
from data_prep.writer import write_dataset
from lightning_face.errors import ConfigError

Contents = Callable[[Path], dict[str, bytes]]
WORK = ".unfinished"


def sidecars(out: Path) -> list[Path]:
    return sorted((out / WORK).glob("shard-*.json")) if (out / WORK).exists() else []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_is_finished_with_the_same_bytes(
    make_faces: Callable, tmp_path: Path, run: Callable, contents: Contents, workers: int
) -> None:
    # Large images that have to be resized take long enough to be killed among them.
    faces = make_faces({"Al": 15, "Bo": 15}, size=(500, 400))
    (faces / "Al" / "Al_0002.jpg").write_bytes(b"no image")
    options = ("--size", 32, "--shard-samples", 2)
    run("folder", faces, tmp_path / "whole", *options, "--workers", 0)
    command = ["folder", faces, tmp_path / "out", *options, "--workers", workers]
    process = subprocess.Popen([sys.executable, "-m", "data_prep", *map(str, command)], stdout=subprocess.DEVNULL)
    while not sidecars(tmp_path / "out"):
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "manifest.json").exists()
    time.sleep(0.5)  # orphaned workers leave within that time
    kept = {path.stem: (tmp_path / "out" / f"{path.stem}.tar").stat().st_ino for path in sidecars(tmp_path / "out")}
    assert 0 < len(kept) < 15

    outcome = run(*command[:-1], 0)
    assert f"{len(kept)} of 15 shards are there already" in outcome.out
    assert {stem: (tmp_path / "out" / f"{stem}.tar").stat().st_ino for stem in kept} == kept
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.fixture
def begun(faces: Path, tmp_path: Path, run: Callable, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """A command that was interrupted after its third shard of five."""
    command = ("folder", faces, tmp_path / "out", "--shard-samples", 2, "--workers", 0)
    with monkeypatch.context() as patch:
        from data_prep import folder

        made = []

        def interrupt(data: bytes, size: int, quality: int) -> bytes:
            made.append(data)
            if len(made) > 6:
                raise KeyboardInterrupt
            return data

        patch.setattr(folder, "to_jpeg", interrupt)
        code, _, err = run(*command)
    assert code == 130 and "continues where it stopped" in err and "Traceback" not in err
    assert len(sidecars(tmp_path / "out")) == 3
    return command


def test_other_options_are_refused_by_name(begun: tuple, fails: Callable, run: Callable, tmp_path: Path) -> None:
    line = fails(*begun, "--size", 16, "--seed", 3)
    assert "--seed was 0, now 3; --size was 0, now 16; give the same, or remove" in line
    assert run(*begun).code == 0
    assert "--size was 0, now 16" in fails(*begun, "--size", 16)


def test_a_changed_source_is_refused(begun: tuple, fails: Callable, faces: Path, encode: Callable) -> None:
    (faces / "Cy" / "Cy_0002.jpg").write_bytes(encode())
    assert "its source held other files" in fails(*begun)


@pytest.mark.parametrize("damage", ["truncate tar", "remove tar", "damage sidecar", "other plan"])
def test_shards_that_do_not_match_their_sidecar_are_made_again(
    begun: tuple, run: Callable, tmp_path: Path, contents: Contents, damage: str
) -> None:
    out, tar, sidecar = tmp_path / "out", tmp_path / "out" / "shard-000001.tar", sidecars(tmp_path / "out")[1]
    if damage == "truncate tar":
        os.truncate(tar, 1000)
    elif damage == "remove tar":
        tar.unlink()
    elif damage == "damage sidecar":
        sidecar.write_text("{")
    else:
        sidecar.write_text(sidecar.read_text().replace('"plan_sha256": "', '"plan_sha256": "f'))
    assert "2 of 5 shards are there already" in run(*begun).out
    run("folder", begun[1], tmp_path / "whole", *begun[3:])
    assert contents(out) == contents(tmp_path / "whole")


def test_killed_after_the_manifest_was_written(begun: tuple, run: Callable, tmp_path: Path) -> None:
    run(*begun)
    (tmp_path / "out" / WORK).mkdir()
    assert "finished already" in run(*begun).out
    assert not (tmp_path / "out" / WORK).exists()


def test_two_runs_at_once(begun: tuple, fails: Callable, tmp_path: Path) -> None:
    with alone(tmp_path / "out" / WORK):
        assert f"another run is writing {tmp_path / 'out'}" in fails(*begun)


def test_a_damaged_record(begun: tuple, fails: Callable, tmp_path: Path) -> None:
    (tmp_path / "out" / "data_prep.json").write_text("{}")
    assert "cannot be read" in fails(*begun)


class Die:
    """Stands for a worker that is killed for its memory."""

    def __call__(self, item: object) -> bytes:
        os._exit(9)


class Reject:
    def __call__(self, item: object) -> bytes:
        raise RejectedImage("too ugly")


class Item:
    label = 0

    def __str__(self) -> str:
        return "the item"


def test_a_worker_that_dies_ends_the_run_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="a worker process died"):
        write_dataset(tmp_path / "out", Plan([Item()], ["Al"], Die(), {}, 0, 1), workers=1)


def test_an_error_in_a_worker_reaches_the_user(tmp_path: Path) -> None:
    plan = Plan([Item()] * 3, ["Al"], Reject(), {}, 0, 1, keep_all=True)
    with pytest.raises(Exception, match="the item: too ugly; a verification set needs every image"):
        write_dataset(tmp_path / "out", plan, workers=2)


def test_a_record_of_another_version(begun: tuple, tmp_path: Path) -> None:
    from data_prep.record import Record

    path = tmp_path / "out" / "data_prep.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 0'))
    with pytest.raises(ConfigError, match="another version of data_prep"):
        Record({}, "").must_equal(tmp_path / "out")
