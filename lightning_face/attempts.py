"""Attempts at one run: of two jobs that have the same run folder, the one that began last may write to it.

A scheduler may start a job again while the former one still runs on a node that it cannot reach. Rank 0 records each
attempt in the run's folder, and looks there before it replaces anything. A process that has begun none may write.
"""

import json
import os
import socket
from datetime import UTC, datetime
from os.path import abspath
from pathlib import Path
from typing import Any

from lightning_face.errors import SupersededError
from lightning_face.files import write_atomically

ATTEMPT_FILE = "attempt.json"

_own: dict[str, dict[str, Any]] = {}
_lost: dict[str, dict[str, Any]] = {}
"""By folder: this process's attempt, and the one that has superseded it."""
_numbers: dict[str, int] = {}
"""By folder: the attempt that this rank belongs to."""


def begin(run_dir: Path, ckpt_path: str | None = None) -> int:
    """Take the folder over; the number of the attempt, from 1. See `take_part`.

    Args:
        run_dir: of the run.
        ckpt_path: the checkpoint of `--ckpt_path`, if it was given.

    Raises:
        OSError: the folder cannot be written.
    """
    attempt = {
        "number": _recorded(run_dir).get("number", 0) + 1,
        "job": os.environ.get("SLURM_JOB_ID"),
        "restart": os.environ.get("SLURM_RESTART_COUNT"),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "ckpt_path": ckpt_path and abspath(ckpt_path),
    }
    write_atomically(run_dir / ATTEMPT_FILE, json.dumps(attempt, indent=1).encode())
    _own[abspath(run_dir)] = attempt
    _lost.pop(abspath(run_dir), None)
    return int(attempt["number"])


def was_given(run_dir: Path, ckpt_path: str) -> bool:
    """Whether the latest attempt was given the same checkpoint to begin with."""
    return _recorded(run_dir).get("ckpt_path") == abspath(ckpt_path)


def take_part(run_dir: Path, number: int) -> None:
    """Every rank of an attempt calls: what it has half written bears the attempt's number, and is no other's."""
    _numbers[abspath(run_dir)] = number


def number_of(run_dir: Path) -> int:
    """The attempt that this rank belongs to; 0 where none has begun."""
    return _numbers.get(abspath(run_dir), 0)


def check(run_dir: Path) -> None:
    """Call before anything in the folder is replaced.

    Raises:
        SupersededError: another attempt has begun since this process's.
    """
    if is_latest(run_dir):
        return
    own, later = _own[abspath(run_dir)], _lost[abspath(run_dir)]
    who = f"job {later['job']}" if later.get("job") else f"process {later.get('process')}"
    raise SupersededError(
        f"attempt {own['number']} ends, nothing is lost: attempt {later.get('number')} ({who} on"
        f" {later.get('host')}, since {later.get('started_at')}) goes on with {run_dir}"
    )


def is_latest(run_dir: Path) -> bool:
    """Look whether the folder is still this process's; a record that cannot be read takes nothing away."""
    own = _own.get(abspath(run_dir))
    if own is not None and (recorded := _recorded(run_dir)) not in ({}, own):
        _lost[abspath(run_dir)] = recorded
    return not is_lost(run_dir)


def is_lost(run_dir: Path) -> bool:
    """Whether a look has found another attempt; reads nothing, so that it may be asked at every step."""
    return abspath(run_dir) in _lost


def _recorded(run_dir: Path) -> dict[str, Any]:
    try:
        attempt = json.loads((run_dir / ATTEMPT_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return attempt if isinstance(attempt, dict) and isinstance(attempt.get("number"), int) else {}
