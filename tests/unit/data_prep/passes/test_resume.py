"""A command that was stopped is continued by the same command, and by no other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.passes import spool
from data_prep.passes.parts import WHOLE, gathering
from data_prep.sources import folder

Contents = Callable[[Path], dict[str, bytes]]
WORK = ".unfinished"


@pytest.fixture
def begun(faces: Path, tmp_path: Path, run: Callable, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """A command that was interrupted in its fourth chunk of five."""
    command = ("folder", faces, tmp_path / "out", "--workers", 0)
    monkeypatch.setattr(spool, "CHUNK_ITEMS", 2)
    with monkeypatch.context() as patch:
        made = []

        def interrupt(data: bytes, size: int, quality: int) -> bytes:
            made.append(data)
            if len(made) > 6:
                raise KeyboardInterrupt
            return data

        patch.setattr(folder, "to_jpeg", interrupt)
        code, _, err = run(*command)
    assert code == 130 and "continues where it stopped" in err and "Traceback" not in err
    assert len(list((tmp_path / "out" / WORK).glob("chunk-*.json"))) == 3
    return command


def test_the_same_command_continues(begun: tuple, run: Callable, tmp_path: Path, contents: Contents) -> None:
    out = run(*begun).out
    assert f"{tmp_path / 'out'}: chunks of images that were gathered already: 3\n" in out
    run("folder", begun[1], tmp_path / "whole", *begun[3:])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_options_are_refused_by_name(begun: tuple, fails: Callable, run: Callable) -> None:
    line = fails(*begun, "--size", 16, "--seed", 3)
    assert "--seed was 0, now 3; --size was 0, now 16; give the same, or remove" in line
    assert run(*begun).code == 0
    assert "--size was 0, now 16" in fails(*begun, "--size", 16)


def test_a_changed_source_is_refused(begun: tuple, fails: Callable, faces: Path, encode: Callable) -> None:
    (faces / "Al" / "Al_0000.jpg").write_bytes(encode())
    assert "its source held other images, from Al/Al_0000.jpg on; remove" in fails(*begun)


def test_killed_after_the_manifest_was_written(begun: tuple, run: Callable, tmp_path: Path) -> None:
    run(*begun)
    (tmp_path / "out" / WORK).mkdir()
    assert "finished already" in run(*begun).out
    assert not (tmp_path / "out" / WORK).exists()


def test_two_runs_at_once(begun: tuple, fails: Callable, tmp_path: Path) -> None:
    with gathering(tmp_path / "out" / WORK, WHOLE):
        assert f"another run is writing {tmp_path / 'out'}" in fails(*begun)


def test_a_damaged_record(begun: tuple, fails: Callable, tmp_path: Path) -> None:
    (tmp_path / "out" / "data_prep.json").write_text("{}")
    assert "cannot be read" in fails(*begun)


def test_a_record_of_another_version(begun: tuple, fails: Callable, tmp_path: Path) -> None:
    path = tmp_path / "out" / "data_prep.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 1'))
    assert "another version of data_prep" in fails(*begun)
