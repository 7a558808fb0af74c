"""A SLURM of two nodes on this machine, and jobs on it; see slurm/mini_cluster.sh."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOUND_S = 300
"""For whatever is waited for: an attempt starts, trains and ends within it, also beside other tests."""

OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


class Cluster:
    """Talks to the cluster whose files are in a folder."""

    def __init__(self, home: Path) -> None:
        others = ("SLURM_", "SBATCH_", "MASTER_")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(others)},
            "MINI_CLUSTER": str(home),
            "SLURM_CONF": str(home / "slurm.conf"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "VIRTUAL_ENV": sys.prefix,
            "WANDB_MODE": "offline",
        }

    def mini_cluster(self, *arguments: str) -> None:
        """See slurm/mini_cluster.sh."""
        self.run("slurm/mini_cluster.sh", *arguments)

    def run(self, *command: object) -> str:
        """A command that must succeed; what it prints."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, log: Path, *arguments: object) -> "Job":
        """Submit a job whose output goes to a file."""
        return Job(self, self.run("sbatch", "--parsable", f"--output={log}", *arguments).strip(), log)


class Job:
    """A job that was submitted."""

    def __init__(self, cluster: Cluster, number: str, log: Path) -> None:
        self.number = number
        self.log = log
        self._cluster = cluster

    def field(self, name: str) -> str:
        """A field of `scontrol show job`: JobState, Restarts, ExitCode ..."""
        shown = self._cluster.run("scontrol", "show", "job", "--oneliner", self.number)
        found = re.search(rf"\b{name}=(\S+)", shown)
        assert found is not None, shown
        return found[1]

    def wait_until(self, what: str, holds: Callable[[], bool]) -> None:
        """Ask until something holds; within the bound, and before the job ends."""
        end = time.monotonic() + BOUND_S
        while not holds():
            goes_on = self.field("JobState") not in OVER and time.monotonic() < end
            assert goes_on or holds(), f"not within {BOUND_S} s: {what}\n{self.printed()}"
            time.sleep(0.2)

    def wait_until_over(self) -> tuple[str, str, str]:
        """Wait until the job is not to run any more: its state, its exit code as SLURM has it, and its restarts."""
        self.wait_until("the job is over", lambda: self.field("JobState") in OVER)
        return self.field("JobState"), self.field("ExitCode"), self.field("Restarts")

    def wait_until_completed(self) -> None:
        """Wait until the job is done, and its work is."""
        state, code, _ = self.wait_until_over()
        assert (state, code) == ("COMPLETED", "0:0"), self.printed()

    def printed(self) -> str:
        """The end of the job's log."""
        return self.log.read_text()[-6000:] if self.log.is_file() else "nothing printed"
