"""A run that is struck again and again, and what has become of it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightning_face.checkpoint.directory import list_checkpoints
from tests.chaos.blows import VARIABLE
from tests.chaos.events import ENDS, LEFT_ALONE, Event, draw

BOUND_S = 600.0
"""Within which an attempt must have made its steps, been struck and ended; a hang is a failure."""

STEPS_BETWEEN_EVENTS = 12
"""Steps that an attempt makes at most before it is struck."""


class ChaosError(AssertionError):
    """A promise that was not kept."""


@dataclass(frozen=True)
class Attempt:
    """What one attempt has done.

    Args:
        event: that struck it; None for the last attempt, which is left alone.
        code: its exit code, negative for a signal.
        trained: optimizer step, time of its end in seconds, and samples of all ranks, in order.
    """

    event: Event | None
    code: int
    trained: list[tuple[int, float, list[int]]]


def survive(
    config: Path,
    run_dir: Path,
    *,
    seed: int,
    num_events: int,
    ranks: Callable[[int], int],
    tell: Callable[[str], object],
) -> Iterator[Attempt]:
    """Start a run, strike it, start it again, until all events are used up; then let it end.

    Args:
        config: of `fit`.
        run_dir: of the run.
        seed: of the events.
        num_events: attempts that are struck.
        ranks: number of ranks of an attempt, by its number.
        tell: told what happens, a line each.

    Raises:
        ChaosError: an attempt hangs, or ends in a way that is not promised.
    """
    run_dir.mkdir()
    for number in range(num_events):
        event = draw(seed, number, num_ranks=ranks(number), most_steps=STEPS_BETWEEN_EVENTS)
        attempt = Attempt(event, _attempt(config, run_dir, ranks(number), event), trained(run_dir, number))
        what = f"{number + 1:4d}. {event.kind} ({event.moment}) of {ranks(number)} rank(s)"
        tell(f"{what}: exit code {attempt.code}, {len(attempt.trained)} steps made")
        _check(attempt, run_dir)
        if event.kind == "checkpoint damaged":
            _damage(run_dir)
        yield attempt
    code = _attempt(config, run_dir, ranks(num_events), None)
    if code != 0:
        raise ChaosError(f"the last attempt, which was left alone, ended with {code}; see {_log(run_dir, None)}")
    yield Attempt(None, code, trained(run_dir, LEFT_ALONE))


def trained(run_dir: Path, number: int) -> list[tuple[int, float, list[int]]]:
    """What the attempt of a number has trained on: step, time, samples; steps that all of its ranks have finished."""
    of_ranks = [_records(path) for path in sorted(run_dir.glob(f"trained-{number:04d}-*.txt"))]
    steps = sorted(set.intersection(*(set(records) for records in of_ranks))) if of_ranks else []
    return [
        (step, max(records[step][0] for records in of_ranks), [i for records in of_ranks for i in records[step][1]])
        for step in steps
    ]


def _records(path: Path) -> dict[int, tuple[float, list[int]]]:
    """Time and samples of each step; a last line that was cut short is none."""
    lines = [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {int(step): (float(at), [int(sample) for sample in ids]) for at, step, *ids in lines}


def _log(run_dir: Path, event: Event | None) -> Path:
    return run_dir / f"log-{LEFT_ALONE if event is None else event.number:04d}.txt"


def _attempt(config: Path, run_dir: Path, num_ranks: int, event: Event | None) -> int:
    """Run `fit` to its end; its exit code."""
    command = [sys.executable, "-m", "lightning_face", "fit", "--config", config, "--run_dir", run_dir]
    options = ["--trainer.devices", num_ranks, "--trainer.callbacks+", "tests.chaos.blows.Blows"]
    inherited = {name: value for name, value in os.environ.items() if name != "MASTER_PORT"}
    environment = {**inherited, "OMP_NUM_THREADS": "1", **({VARIABLE: event.dump()} if event else {})}
    with _log(run_dir, event).open("w") as log:
        process = subprocess.Popen(
            list(map(str, [*command, *options])), stdout=log, stderr=log, start_new_session=True, env=environment
        )
        try:
            if event is not None and event.moment == "start":
                _strike_at_start(process, run_dir, event)
            return process.wait(timeout=BOUND_S if event is not None else None)
        except subprocess.TimeoutExpired as error:
            raise ChaosError(f"{event} has hung for {BOUND_S:.0f} s; see {_log(run_dir, event)}") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _strike_at_start(process: "subprocess.Popen[bytes]", run_dir: Path, event: Event) -> None:
    """After the delay, or once a step is made: from then on it is no start."""
    end = time.monotonic() + event.delay_s
    while process.poll() is None and time.monotonic() < end and not trained(run_dir, event.number):
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, event.number_of_signal)


def _check(attempt: Attempt, run_dir: Path) -> None:
    """Each attempt ends as is promised for what struck it; none is done before it is struck."""
    event = attempt.event
    assert event is not None
    allowed = ENDS[event.kind] | ({-event.number_of_signal} if event.moment == "start" else set())
    if attempt.code not in allowed:
        raise ChaosError(f"{event} ended with exit code {attempt.code}; see {_log(run_dir, event)}")


def _damage(run_dir: Path) -> None:
    """Change one byte of the newest checkpoint; the only one is spared, since without it a run does not go on."""
    last = (run_dir / "checkpoints" / "last").resolve()
    if not any(checkpoint.name < last.name for checkpoint in list_checkpoints(run_dir)):
        return
    file = max(last.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
