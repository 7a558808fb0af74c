"""A process in which nothing goes on says where it stands, and ends; one in which something does goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOUND_S = 60


def ended(program: str) -> subprocess.CompletedProcess[str]:
    lines = f"import ctypes, time\nfrom lightning_face import watchdog\nwatchdog._LATER_S = 0.2\n{program}"
    return subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S)


def test_a_stall_ends_the_process_with_its_stacks() -> None:
    found = ended("def stuck():\n    time.sleep(600)\nwith watchdog.watching(0.005, rank=3):\n    stuck()")
    assert found.returncode == 1
    assert found.stderr.startswith("error: rank 3 (process ")
    assert "stands still for 0.005 minutes and ends" in found.stderr.splitlines()[0]
    assert "in stuck" in found.stderr


def test_a_library_that_keeps_the_interpreter_is_ended_too() -> None:
    found = ended(
        "def stuck():\n    ctypes.PyDLL(None).sleep(600)\nwith watchdog.watching(0.005, rank=0):\n    stuck()"
    )
    assert found.returncode == 1
    assert "in stuck" in found.stderr


@pytest.mark.parametrize("minutes", [0.05, 0.0])
def test_whoever_is_alive_goes_on(minutes: float) -> None:
    """A little longer than the bound, which is long enough for a busy machine."""
    found = ended(
        f"with watchdog.watching({minutes}, rank=0):\n    started = time.monotonic()\n"
        f"    while time.monotonic() < started + {66 * minutes}:\n        watchdog.alive()"
    )
    assert (found.returncode, found.stderr) == (0, "")
