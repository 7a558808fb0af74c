"""Signals are remembered and no more; who may end a data worker, in processes of their own."""

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from select import select

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


def worker(connection: Connection) -> None:
    """What torch forks, as far as signals are concerned; answers what it is sent."""
    signals.shield_worker(0)
    while True:
        connection.send(connection.recv())


def started_worker() -> tuple[multiprocessing.Process, Connection]:
    here, there = Pipe()
    with signals.held_back():
        process = multiprocessing.get_context("fork").Process(target=worker, args=(there,), daemon=True)
        process.start()
    return process, here


def test_only_its_parent_ends_a_data_worker() -> None:
    process, connection = started_worker()
    for number in signals.STOPPING:
        subprocess.run(["kill", f"-{number}", str(process.pid)], check=True)
    connection.send("still there")
    assert connection.poll(BOUND_S) and connection.recv() == "still there"
    process.terminate()
    process.join(BOUND_S)
    assert process.exitcode == 0


def end_of_a_parent(pipe: Connection) -> None:
    process, connection = started_worker()
    connection.send("ready")
    assert connection.recv() == "ready"
    os.kill(process.pid or 0, signal.SIGSTOP)
    pipe.send(process.pid)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_stopped_worker_ends_with_its_parent() -> None:
    here, there = Pipe()
    parent = multiprocessing.get_context("fork").Process(target=end_of_a_parent, args=(there,))
    parent.start()
    parent.join(BOUND_S)
    worker_pid = here.recv()
    with suppress(ProcessLookupError):  # gone already
        descriptor = os.pidfd_open(worker_pid)
        assert select([descriptor], [], [], BOUND_S)[0], "it outlives its parent"
        os.close(descriptor)
