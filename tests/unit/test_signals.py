"""Signals are remembered, and no more."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_face import signals

ROOT = Path(__file__).parents[2]
BOUND_S = 60


def run(program: str) -> subprocess.Popen[str]:
    """A Python program that reads lines and writes lines."""
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@pytest.mark.parametrize("number", signals.STOPPING)
def test_first_signal_is_remembered_and_ends_nothing(number: signal.Signals) -> None:
    process = run(
        "from lightning_face import signals; signals.catch(); signals.let_through()\n"
        "print(signals.received(), flush=True); input(); print(signals.received()); signals.ignore(); input()"
    )
    with process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "0\n"
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        print(file=process.stdin, flush=True)
        assert int(process.stdout.readline()) in (number, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        print(file=process.stdin, flush=True)
        assert process.wait(BOUND_S) == 0


def test_a_process_started_while_signals_are_held_back_gets_them_when_it_is_ready() -> None:
    with signals.held_back():
        process = run(
            "from lightning_face import signals; input(); signals.catch(); signals.let_through()\n"
            "print(signals.received())"
        )
    with process:
        process.terminate()
        assert process.communicate("\n", BOUND_S)[0] == f"{int(signal.SIGTERM)}\n"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(signals.STOPPING)
