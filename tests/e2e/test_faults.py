"""A rank that dies, or a signal, never leaves a rank hanging."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import log_of, started_fit

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


@pytest.mark.parametrize(
    "rank, number", [(1, signal.SIGKILL), (0, signal.SIGKILL), (0, signal.SIGTERM), (1, signal.SIGTERM)]
)
def test_no_rank_outlives_another(tiny_config, tmp_path, rank, number):
    run = tmp_path / "run"
    with started_fit(tiny_config, run, "--trainer.devices", 2, "--trainer.max_epochs", 500) as process:
        deadline = time.monotonic() + BOUND_S
        while not (run / "checkpoints" / "last").exists():
            assert time.monotonic() < deadline and process.poll() is None, log_of(run)
            time.sleep(0.05)
        ranks = ranks_of(process)
        os.kill(ranks[rank], number)
        assert process.wait(timeout=BOUND_S) != 0
        deadline = time.monotonic() + BOUND_S
        while is_running(ranks[1]):
            assert time.monotonic() < deadline, log_of(run)
            time.sleep(0.05)
