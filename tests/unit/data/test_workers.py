"""Who may end a data worker."""

import os
import signal
import subprocess
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from select import select

from lightning_face import signals
from lightning_face.data.workers import Worker, WorkerContext, shield

BOUND_S = 60


def answer(connection: Connection) -> None:
    """What torch forks, as far as signals are concerned; answers what it is sent."""
    shield()
    while True:
        connection.send(connection.recv())


def started() -> tuple[Worker, Connection]:
    here, there = Pipe()
    process = WorkerContext().Process(target=answer, args=(there,), daemon=True)
    process.start()
    return process, here


def test_only_its_parent_ends_it() -> None:
    process, connection = started()
    for number in signals.STOPPING:
        subprocess.run(["kill", f"-{number}", str(process.pid)], check=True)
        os.kill(process.pid or 0, number)  # of its parent, too: terminate() is the word
    connection.send("still there")
    assert connection.poll(BOUND_S) and connection.recv() == "still there"
    process.terminate()
    process.join(BOUND_S)
    assert process.exitcode == 0


def test_its_parent_is_heard_though_a_scheduler_was_before() -> None:
    """Of two equal signals that a stopped process gets the kernel keeps one, and with it one sender."""
    process, connection = started()
    connection.send("ready")
    assert connection.poll(BOUND_S) and connection.recv() == "ready"
    os.kill(process.pid or 0, signal.SIGSTOP)
    for number in signals.STOPPING:
        subprocess.run(["kill", f"-{number}", str(process.pid)], check=True)
    process.terminate()
    os.kill(process.pid or 0, signal.SIGCONT)
    process.join(BOUND_S)
    assert process.exitcode == 0


def end_of_a_parent(pipe: Connection) -> None:
    process, connection = started()
    connection.send("ready")
    assert connection.recv() == "ready"
    os.kill(process.pid or 0, signal.SIGSTOP)
    pipe.send(process.pid)
    os.kill(os.getpid(), signal.SIGKILL)


def test_it_ends_with_its_parent_though_it_is_stopped() -> None:
    here, there = Pipe()
    parent = get_context("fork").Process(target=end_of_a_parent, args=(there,))
    parent.start()
    parent.join(BOUND_S)
    worker_pid = here.recv()
    with suppress(ProcessLookupError):  # gone already
        descriptor = os.pidfd_open(worker_pid)
        assert select([descriptor], [], [], BOUND_S)[0], "it outlives its parent"
        os.close(descriptor)
