"""`doctor` through the command line: a healthy run, and one with several faults at once."""

import re
import shutil

import pytest

from lightning_face.__main__ import main
from tests.e2e.conftest import run_cli

CHECKS = {
    *("rendezvous", "versions", "clocks", "devices", "network", "class tables", "training data", "identities"),
    *("verification held_out", "run folder", "checkpoints", "start", "W&B"),
}


def rows_of(printed):
    """Level of each check in the table."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    return {name: level for name, level, *_ in cells if name}


@pytest.mark.timeout(300)
def test_a_healthy_run_on_two_ranks(tiny_config, tmp_path):
    options = ("--config", tiny_config, "--run_dir", tmp_path / "run", "--trainer.max_steps", 5)
    assert main([str(argument) for argument in ("fit", *options)]) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    result = run_cli("doctor", *options, "--trainer.devices", 2)
    assert result.returncode == 0, result.stderr[-4000:]
    rows = rows_of(result.stdout)
    assert set(rows) == CHECKS and set(rows.values()) <= {"ok", "warning"}
    assert "2 ranks in" in result.stdout
    assert "step-00000005,step5" in re.sub(r"[\s│]", "", result.stdout), "cells are folded"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_faults_are_found_together(tiny_config, generated, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "nobody"))
    folder = shutil.copytree(generated / "train", tmp_path / "train")
    with (folder / "shard-000001.tar").open("r+b") as shard:
        shard.seek(20_000)
        shard.write(b"\x00" * 100)
    options = ("--config", tiny_config, "--run_dir", "/proc/nowhere", "--data.train", folder, "--wandb.mode", "online")
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in ("doctor", *options)])
    assert ended.value.code == 2
    rows = rows_of(capfd.readouterr().out)
    assert {name for name, level in rows.items() if level == "fails"} == {
        "training data",
        "run folder",
        "checkpoints",
        "W&B",
    }


def test_options_that_cannot_work_are_one_line(tiny_config, tmp_path, capfd):
    options = ("--config", tiny_config, "--run_dir", tmp_path / "run", "--trainer.devices", 5)
    assert main([str(argument) for argument in ("doctor", *options)]) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("error"))
    assert "the nearest is 20 or 25" in line
    assert not (tmp_path / "run").exists()
