"""Checkpoints are whole or absent; a damaged one is found, named and passed over."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightning_face import attempts
from lightning_face.checkpoint import choice, directory
from lightning_face.checkpoint.choice import check_intact, last_intact
from lightning_face.checkpoint.directory import (
    DENSE_FILE,
    DESCRIPTION_FILE,
    Description,
    checkpoints_of,
    describe,
    list_checkpoints,
    make_partial,
    name_of,
    partial_of,
    point,
    prune,
    publish,
    seal,
)
from lightning_face.checkpoint.tables import tables_file
from lightning_face.errors import CheckpointError

TABLES_FILE = tables_file(0)
Damage = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the checkpoints of the run in `tmp_path`."""
    return checkpoints_of(tmp_path)


def save(folder: Path, step: int, contents: bytes = b"weights") -> Path:
    """Write a checkpoint as the trainer does."""
    final = folder / name_of(step)
    partial = partial_of(final)
    make_partial(final)
    (partial / DENSE_FILE).write_bytes(contents + str(step).encode())
    (partial / TABLES_FILE).write_bytes(b"rows of the tables")
    files = {name: seal(partial / name) for name in (DENSE_FILE, TABLES_FILE)}
    publish(final, Description(step, {"consumed": step}, {"centers": [3, 2]}, {"seed": 1}, files, "ddp", 2))
    return final


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_publishes_and_describes(folder: Path) -> None:
    checkpoint = save(folder, 100)
    assert names(folder) == ["last", "step-00000100"]
    assert names(checkpoint) == [DESCRIPTION_FILE, DENSE_FILE, TABLES_FILE]
    description = check_intact(checkpoint)
    assert description == describe(checkpoint)
    assert (description.step, description.position, description.version) == (100, {"consumed": 100}, 1)
    assert (description.tables, description.options) == ({"centers": [3, 2]}, {"seed": 1})
    assert {name: file["bytes"] for name, file in description.files.items()} == {DENSE_FILE: 10, TABLES_FILE: 18}


def test_last_points_to_the_newest_by_a_relative_link(folder: Path) -> None:
    save(folder, 10)
    save(folder, 20)
    assert os.readlink(folder / "last") == name_of(20)
    moved = folder.rename(folder.with_name("moved"))
    assert check_intact(moved / "last").step == 20


def test_links_are_replaced_even_where_a_killed_run_left_half_of_it(folder: Path) -> None:
    first, second = save(folder, 10), save(folder, 20)
    (folder / ".best.tmp").symlink_to("nowhere")
    point(folder / "best", first)
    point(folder / "best", second)
    assert (folder / "best").resolve() == second.resolve()
    assert ".best.tmp" not in names(folder)


def test_names_sort_by_step() -> None:
    steps = [0, 9, 10, 99_999, 12_345_678]
    assert sorted(name_of(step) for step in reversed(steps)) == [name_of(step) for step in steps]


def test_prune_keeps_the_newest_that_a_run_may_go_back_to(folder: Path) -> None:
    for step in (10, 20, 23, 27, 29):
        save(folder, step)
    assert list_checkpoints(folder.parent, every_n_steps=10) == [folder / name_of(10), folder / name_of(20)]
    prune(folder, 1, every_n_steps=10)
    assert names(folder) == ["last", name_of(20), name_of(29)]


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_prune_keeps_the_newest_and_what_links_point_to(folder: Path, keep: int) -> None:
    checkpoints = [save(folder, step) for step in (10, 20, 30, 40)]
    point(folder / "best", checkpoints[1])
    prune(folder, keep)
    kept = {name_of(step) for step in (10, 20, 30, 40)[-keep:]} | {name_of(20)}
    assert set(names(folder)) == kept | {"best", "last"}


def test_damaged_checkpoints_that_were_passed_over_do_not_count(folder: Path) -> None:
    """A run that went on from 10 keeps its good ones, although later ones lie there."""
    damaged = [save(folder, step) for step in (80, 90)]
    for step in (10, 20, 30):
        save(folder, step)
        prune(folder, 2)
    assert set(names(folder)) == {*(name_of(step) for step in (20, 30)), *(path.name for path in damaged), "last"}


def test_interrupted_removal_leaves_no_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = save(folder, 10), save(folder, 20)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        prune(folder, 1)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        check_intact(first)
    assert last_intact(folder.parent) == second


def altered(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [Path.unlink, truncated, altered], ids=["missing", "truncated", "altered"])
@pytest.mark.parametrize("name", [DENSE_FILE, TABLES_FILE])
def test_damaged_file_is_named_and_the_checkpoint_before_is_used(
    folder: Path, caplog: pytest.LogCaptureFixture, damage: Damage, name: str
) -> None:
    before, newest = save(folder, 10), save(folder, 20)
    damage(newest / name)
    with pytest.raises(CheckpointError, match=f"{newest} is damaged: {name} is ") as error:
        check_intact(newest)
    assert "\n" not in str(error.value)
    assert last_intact(folder.parent) == before
    assert f"{name} is " in caplog.text and "trying the one before it" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no complete checkpoint: checkpoint.json is missing"),
        ("", "checkpoint.json is damaged"),
        ('{"step": 20', "checkpoint.json is damaged"),
        ("null", "checkpoint.json is damaged"),
        ("[1]", "checkpoint.json is damaged"),
        ('{"step": 20}', "checkpoint.json is damaged"),
        ('{"step": 20, "version": 2, "shards": 8}', "has version 2, this program reads 1"),
    ],
)
def test_checkpoint_without_a_good_description_is_refused(folder: Path, text: str | None, message: str) -> None:
    before, newest = save(folder, 10), save(folder, 20)
    (newest / DESCRIPTION_FILE).unlink()
    if text is not None:
        (newest / DESCRIPTION_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=message) as error:
        check_intact(newest)
    assert "\n" not in str(error.value)
    assert last_intact(folder.parent) == before


def test_checkpoint_of_another_version_is_refused(folder: Path) -> None:
    checkpoint = save(folder, 10)
    fields = json.loads((checkpoint / DESCRIPTION_FILE).read_text())
    (checkpoint / DESCRIPTION_FILE).write_text(json.dumps({**fields, "version": 2}))
    with pytest.raises(CheckpointError, match="has version 2, this program reads 1"):
        describe(checkpoint)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/dense.ckpt", "dense.ckpt/../../other"])
def test_description_may_not_name_files_elsewhere(folder: Path, name: str) -> None:
    checkpoint = save(folder, 10)
    fields = json.loads((checkpoint / DESCRIPTION_FILE).read_text())
    fields["files"][name] = {"bytes": 1, "sha256": "0"}
    (checkpoint / DESCRIPTION_FILE).write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=f"checkpoint.json is damaged .it names '{name}', outside") as error:
        describe(checkpoint)
    assert "\n" not in str(error.value)


def test_run_without_checkpoints_has_none(tmp_path: Path, folder: Path) -> None:
    assert last_intact(tmp_path) is None
    make_partial(folder / name_of(10))
    assert last_intact(tmp_path) is None


STEPS_OF_PUBLISHING = ["flush", "write_atomically", "point"]


@pytest.mark.parametrize("failing", STEPS_OF_PUBLISHING)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "killed"])
def test_failure_midway_leaves_the_checkpoint_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    before = save(folder, 10)

    def fail(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(directory, failing, fail)
        save(folder, 20)
    # The link comes last: without it the checkpoint is whole already.
    assert last_intact(folder.parent) == (before if failing != "point" else folder / name_of(20))
    assert (folder / "last").resolve() == before.resolve()
    save(folder, 30)
    assert not [name for name in names(folder) if name.startswith(".")]


@pytest.mark.parametrize("kill_at", ["rename", "rmtree"])
def test_saving_a_step_again_never_loses_it(folder: Path, monkeypatch: pytest.MonkeyPatch, kill_at: str) -> None:
    """A run that went back to an earlier checkpoint passes the same steps again."""
    save(folder, 10)
    former = save(folder, 20)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        make_partial(former)
        partial = partial_of(former)
        (partial / DENSE_FILE).write_bytes(b"new")
        patch.setattr(*{"rename": (Path, "rename"), "rmtree": (directory.shutil, "rmtree")}[kill_at], killed)
        publish(former, Description(20, {}, {}, {}, {DENSE_FILE: seal(partial / DENSE_FILE)}, "ddp", 2))
    assert last_intact(folder.parent) == former
    again = save(folder, 20, b"newer")
    assert (check_intact(again).step, (again / DENSE_FILE).read_bytes()) == (20, b"newer20")
    assert names(folder) == ["last", name_of(10), name_of(20)]


def test_partial_is_empty_and_former_ones_are_removed(folder: Path) -> None:
    make_partial(folder / name_of(10))
    (partial_of(folder / name_of(10)) / DENSE_FILE).write_bytes(b"half")
    partial = partial_of(folder / name_of(20))
    for _ in range(2):
        make_partial(folder / name_of(20))
        assert names(folder) == [partial.name] and not names(partial)


def test_two_attempts_never_write_into_one_folder(folder: Path) -> None:
    """The former one does not know yet that it is."""
    final = folder / name_of(10)
    for number in (1, 2):
        attempts.take_part(folder.parent, number)
        make_partial(final)
    attempts.take_part(folder.parent, 1)
    with pytest.raises(FileNotFoundError):
        (partial_of(final) / DENSE_FILE).write_bytes(b"former")
    assert names(folder) == [f".partial-2-{final.name}"]


def test_what_cannot_be_read_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = save(folder, 10), save(folder, 20)
    real = choice.sha256_of

    def bad_sector(path: Path) -> str:
        if second in path.parents:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(choice, "sha256_of", bad_sector)
    assert last_intact(folder.parent) == first
