"""A rank that dies never leaves the others hanging."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import command, environment

BOUND_S = 90


def children_of(pid):
    """Process ids of the direct children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_rank_ends_the_job(tiny_config, tmp_path):
    run = tmp_path / "run"
    options = ("--trainer.devices", "2", "--trainer.max_epochs", "500")
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command("fit", "--config", tiny_config, "--run_dir", run, *options),
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={name: value for name, value in environment().items() if value},
        )
        try:
            deadline = time.monotonic() + BOUND_S
            while not (run / "checkpoints" / "last").exists():
                assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "log").read_text()[-3000:]
                time.sleep(0.05)
            ranks = [
                pid
                for pid in children_of(process.pid)
                if b"lightning_face" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            assert len(ranks) == 1
            os.kill(ranks[0], signal.SIGKILL)
            assert process.wait(timeout=BOUND_S) != 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
