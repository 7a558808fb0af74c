"""`metrics.csv` goes on where a run goes on, and so does the W&B run."""

import csv
import os
import signal
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import wandb
from pytorch_lightning.loggers import WandbLogger

from lightning_face import signals
from lightning_face.loggers import METRICS_FILE, CsvLogger, WandbConfig, make_loggers
from tests.disk import full_disk


def rows_of(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / METRICS_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def logged(run_dir: Path, steps: range) -> CsvLogger:
    logger = CsvLogger(run_dir)
    for step in steps:
        logger.log_metrics({"train/loss": step / 8, "epoch": 0}, step)
    return logger


def test_a_row_per_call(tmp_path: Path) -> None:
    logged(tmp_path, range(3))
    expected = [{"step": str(step), "train/loss": str(step / 8), "epoch": "0"} for step in range(3)]
    assert rows_of(tmp_path) == expected


def test_makes_its_folder(tmp_path: Path) -> None:
    logged(tmp_path / "runs" / "new", range(1))
    assert len(rows_of(tmp_path / "runs" / "new")) == 1


def test_new_metric_adds_a_column(tmp_path: Path) -> None:
    logger = logged(tmp_path, range(2))
    logger.log_metrics({"verification/accuracy": 0.9}, 1)
    logger.log_metrics({"train/loss": 0.25, "epoch": 0}, 2)
    rows = rows_of(tmp_path)
    assert list(rows[0]) == ["step", "train/loss", "epoch", "verification/accuracy"]
    assert [row["verification/accuracy"] for row in rows] == ["", "", "0.9", ""]
    assert [row["train/loss"] for row in rows] == ["0.0", "0.125", "", "0.25"]


@pytest.mark.parametrize(("step", "kept"), [(-1, 0), (0, 1), (3, 4), (4, 5), (9, 5)])
def test_cut_after_drops_the_rows_past_a_step(tmp_path: Path, step: int, kept: int) -> None:
    logged(tmp_path, range(5))
    CsvLogger(tmp_path).cut_after(step)
    assert [int(row["step"]) for row in rows_of(tmp_path)] == list(range(kept))


def test_cutting_a_file_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    CsvLogger(tmp_path).cut_after(3)
    assert not list(tmp_path.iterdir())


def test_goes_on_after_a_restart_without_repeats(tmp_path: Path) -> None:
    logged(tmp_path, range(20))
    whole = (tmp_path / METRICS_FILE).read_bytes()
    CsvLogger(tmp_path).cut_after(11)
    logged(tmp_path, range(12, 20))
    assert (tmp_path / METRICS_FILE).read_bytes() == whole


@pytest.mark.parametrize("cut", range(1, 10))
def test_half_a_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    """A kill may leave any part of the last line: it is neither read as a number nor run into the next row."""
    logged(tmp_path, range(5))
    path = tmp_path / METRICS_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    logged(tmp_path, range(4, 6))
    assert [int(row["step"]) for row in rows_of(tmp_path)] == list(range(6))
    assert all(row["train/loss"] == str(int(row["step"]) / 8) for row in rows_of(tmp_path))


@pytest.mark.parametrize("cut", range(1, 10))
def test_half_a_last_line_is_dropped_when_the_run_goes_on(tmp_path: Path, cut: int) -> None:
    logged(tmp_path, range(5))
    path = tmp_path / METRICS_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    CsvLogger(tmp_path).cut_after(4)
    assert [int(row["step"]) for row in rows_of(tmp_path)] == list(range(4))


def test_metric_whose_column_was_lost_is_found_again(tmp_path: Path) -> None:
    logged(tmp_path, range(2))
    again = CsvLogger(tmp_path)
    again.log_metrics({"data/replaced": 3.0}, 2)
    assert [row["data/replaced"] for row in rows_of(tmp_path)] == ["", "", "3.0"]


@pytest.mark.parametrize("first", [True, False], ids=["before the first row", "later"])
@pytest.mark.parametrize("num_bytes", [0, 35, 47], ids=["nothing fits", "half a row fits", "a row and a half fit"])
def test_rows_wait_where_the_disk_is_full(tmp_path: Path, num_bytes: int, first: bool) -> None:
    logger = logged(tmp_path, range(0 if first else 2))
    with (
        full_disk(num_bytes),
        pytest.warns(UserWarning, match=r"metrics.csv cannot be written now \(.*\); \d rows wait"),
    ):
        for step in range(2, 5):
            logger.log_metrics({"train/loss": step / 8, "epoch": 0}, step)
    logger.log_metrics({"train/loss": 0.5, "verification/accuracy": 0.9}, 5)
    assert [int(row["step"]) for row in rows_of(tmp_path)] == list(range(2 if first else 0, 6))
    with full_disk(num_bytes), pytest.warns(UserWarning, match="1 rows wait"):
        logger.log_metrics({"train/loss": 0.5}, 6)
    logger.finalize("success")
    assert [int(row["step"]) for row in rows_of(tmp_path)] == list(range(2 if first else 0, 7))


def test_disabled_wandb_leaves_the_csv_alone(tmp_path: Path) -> None:
    loggers = make_loggers(tmp_path, WandbConfig(mode="disabled"), {})
    assert [type(logger) for logger in loggers] == [CsvLogger]
    assert not list(tmp_path.iterdir())


def test_auto_is_offline_where_nobody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wandb.login", lambda **options: False)
    _, logger = make_loggers(tmp_path, WandbConfig(), {})
    assert isinstance(logger, WandbLogger) and logger._offline


@pytest.mark.parametrize("answers", [True, False])
def test_auto_asks_whether_the_server_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    asked: list[tuple[tuple[str, int], float]] = []

    def connect(address: tuple[str, int], timeout: float) -> object:
        asked.append((address, timeout))
        if not answers:
            raise TimeoutError
        return open(os.devnull)

    wandb.teardown()  # so that the environment is read anew
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.example:8080")
    monkeypatch.setattr("wandb.login", lambda **options: True)
    monkeypatch.setattr("socket.create_connection", connect)
    _, logger = make_loggers(tmp_path, WandbConfig(), {})
    assert asked == [(("wandb.example", 8080), 10)]
    assert isinstance(logger, WandbLogger) and logger._offline is not answers
    wandb.teardown()


def attempt(run_dir: Path, step: int) -> str:
    """One attempt of a run logs one step to a real W&B run, offline; returns the run's id."""
    _, logger = make_loggers(run_dir, WandbConfig(mode="offline", project="tests"), {"seed": 3})
    assert isinstance(logger, WandbLogger)
    logger.log_metrics({"train/loss": 0.5}, step)
    run_id, name, project = logger.experiment.id, logger.experiment.name, logger.experiment.project
    assert (name, project) == (run_dir.name, "tests")
    assert logger.experiment.config["seed"] == 3
    logger.experiment.finish()
    return run_id


def test_two_attempts_are_one_wandb_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    run_dir = tmp_path / "my_run"
    ids = [attempt(run_dir, step) for step in (0, 1)]
    assert ids[0] == ids[1]
    other = make_loggers(tmp_path / "other", WandbConfig(mode="offline"), {})[1]
    assert other.version != ids[0]
    records = [record.name for record in (run_dir / "wandb").glob("offline-run-*/run-*.wandb")]
    assert records and set(records) == {f"run-{ids[0]}.wandb"}


def test_a_signal_to_all_processes_ends_that_of_wandb_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, logger = make_loggers(tmp_path, WandbConfig(mode="offline"), {})
    log = MagicMock(side_effect=ValueError("not a number"))
    monkeypatch.setattr(logger, "_experiment", MagicMock(log=log))
    with pytest.raises(ValueError, match="not a number"):
        logger.log_metrics({"train/loss": 0.5}, 3)
    monkeypatch.setattr(signals, "_first", signal.SIGTERM)
    with pytest.warns(UserWarning, match=r"W&B's process has ended .*; the rows from here on are in metrics.csv alone"):
        logger.log_metrics({"train/loss": 0.5}, 4)
    logger.log_metrics({"train/loss": 0.5}, 5)  # said once
    assert log.call_count == 3
