"""The command line itself."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = ("folder", "recordio", "msceleb1m", "vggface2", "lists")
COMMANDS = (*SOURCES, "synthetic", "merge", "index", "pairs", "bin", "check", "overlap")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    command: str, run: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert f"example: python -m data_prep {command} " in text
    assert "--workers N" in text and "(default: " in text


def test_help_lists_the_commands(run: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    text = capsys.readouterr().out
    assert all(f"\n    {command}" in text for command in COMMANDS)


def test_unknown_options_and_commands(fails: Callable, faces: Path, tmp_path: Path) -> None:
    line = fails("folder", faces, tmp_path / "out", "--colour", "red")
    assert "unrecognized arguments: --colour red; see `python -m data_prep" in line
    assert "unrecognized arguments: --min 3" in fails("folder", faces, tmp_path / "out", "--min", "3")
    assert "invalid choice: 'fold'" in fails("fold", faces)
    assert "required: COMMAND" in fails()
    assert "required: OUT" in fails("folder", faces)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--workers", "-1", "at least 0"),
        ("--quality", "101", "from 1 to 100"),
        ("--size", "big", "from 0 to 4096"),
        ("--shard-samples", "0", "at least 1"),
        ("--min-images", "0", "at least 1"),
        ("--max-rejected", "1.5", "a share from 0 to 1"),
        ("--max-rejected", "few", "a share from 0 to 1"),
        ("--part", "0/3", "I/N with I from 1 to N"),
        ("--part", "4/3", "I/N with I from 1 to N"),
        ("--part", "2", "I/N with I from 1 to N"),
    ],
)
def test_values_out_of_range(fails: Callable, tmp_path: Path, option: str, value: str, rule: str) -> None:
    line = fails("folder", tmp_path, tmp_path / "out", f"{option}={value}")
    assert f"argument {option}: must be " in line and rule in line and repr(value) in line


def test_starts_without_torch_and_opencv(faces: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from data_prep.__main__ import main; main(); sys.exit(bool({'torch', 'cv2'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "folder", str(faces), str(tmp_path / "out"), "--workers", "0"]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "data_prep", "check"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the following arguments are required: OUT") and done.stderr.count("\n") == 1
