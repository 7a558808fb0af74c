"""A rank that dies, or a signal, never leaves a rank hanging."""

import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from pytorch_lightning import Callback

from lightning_face import signals
from lightning_face.__main__ import main
from lightning_face.checkpoint.directory import describe
from lightning_face.errors import PreemptedError, SupersededError
from tests.e2e.conftest import TIMEOUT_S, command, environment, log_of, started_fit
from tests.e2e.test_resume import losses

BOUND_S = 90


def ranks_of(process):
    """Process ids of rank 0 and of the rank that it started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = [int(pid) for pid in children if b"lightning_face" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(ranks) == 1
    return [process.pid, *ranks]


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def seen(run_dir, words, process, times=1):
    """Wait until a running process has written some words to its log."""
    deadline = time.monotonic() + TIMEOUT_S
    while log_of(run_dir, whole=True).count(words) < times:
        assert time.monotonic() < deadline and process.poll() is None, log_of(run_dir)
        time.sleep(0.05)


@pytest.mark.parametrize("rank, number", [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGTERM)])
def test_no_rank_outlives_another(tiny_config, tmp_path, rank, number):
    run = tmp_path / "run"
    with started_fit(tiny_config, run, "--trainer.devices", 2, "--trainer.max_epochs", 500) as process:
        seen(run, "saved ", process)
        ranks = ranks_of(process)
        os.kill(ranks[rank], number)
        code = process.wait(timeout=BOUND_S)
        deadline = time.monotonic() + BOUND_S
        while is_running(ranks[1]):
            assert time.monotonic() < deadline, log_of(run)
            time.sleep(0.05)
    if number == signal.SIGTERM:
        saved = describe(run / "checkpoints" / "last").step
        assert code == PreemptedError.exit_code, log_of(run)
        assert f"stopped by SIGTERM after step {saved}, saved as {run}/checkpoints/" in log_of(run)
    elif rank == 1:
        assert code == 1
        assert f"error: rank 1 (process {ranks[1]}) was ended by SIGKILL" in log_of(run, whole=True)
    else:
        assert code == -signal.SIGKILL


class KillsAWorker(Callback):
    """As the system does that has run out of memory."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        multiprocessing.active_children()[0].kill()


def test_data_worker_is_killed(tiny_config, tmp_path, capfd):
    options = ("--data.num_workers", 2, "--trainer.callbacks+", f"{__name__}.KillsAWorker")
    assert main(["fit", "--config", str(tiny_config), "--run_dir", str(tmp_path / "run"), *map(str, options)]) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert "a data worker was killed (" in line and "lower data.num_workers" in line


def test_signal_before_anything_is_imported(tiny_config, tmp_path):
    """It waits for the program's first line here; sent earlier, it would end the process before there is a program."""
    run = tmp_path / "run"
    with signals.held_back(), started_fit(tiny_config, run, "--trainer.devices", 2) as process:
        process.terminate()
        assert process.wait(timeout=TIMEOUT_S) == PreemptedError.exit_code, log_of(run)
    assert log_of(run).count("stopped by SIGTERM before the first step, nothing is lost") == 1
    assert not (run / "checkpoints").exists()


def test_other_commands_have_nothing_to_save(tmp_path):
    """They end by the signal, from the first line on."""
    with signals.held_back():
        started = [
            subprocess.Popen(command(name, "--run_dir", tmp_path), stderr=subprocess.PIPE, env=environment())
            for name in ("validate", "test", "predict", "export", "doctor")
        ]
        for process in started:
            process.terminate()
    assert [process.communicate(timeout=TIMEOUT_S)[1] for process in started] == 5 * [b""]
    assert [process.returncode for process in started] == 5 * [-signal.SIGTERM]


def test_a_later_attempt_takes_over_and_tells_where_it_stands(tiny_config, tmp_path):
    """The earlier one ends by itself, though nobody signals it; the later one does what it is asked by signals."""
    run, epochs = tmp_path / "run", ("--trainer.max_epochs", 500)
    with started_fit(tiny_config, run, *epochs) as earlier:
        seen(run, "saved ", earlier)
        with started_fit(tiny_config, run, *epochs) as later:
            assert earlier.wait(TIMEOUT_S) == SupersededError.exit_code, log_of(run)
            assert f"attempt 1 ends, nothing is lost: attempt 2 (process {later.pid} on " in log_of(run, whole=True)
            seen(run, "saved ", later, log_of(run, whole=True).count("saved ") + 1)
            later.send_signal(signal.SIGUSR2)
            seen(run, "Current thread", later)
            later.terminate()
            assert later.wait(TIMEOUT_S) == PreemptedError.exit_code, log_of(run)
    steps = [step for step, _ in losses(run)]
    assert steps == list(range(describe(run / "checkpoints" / "last").step))
