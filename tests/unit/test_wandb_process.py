"""W&B's own process is ended by SIGTERM, which SLURM sends to all processes of a job: the run goes on to its end."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, signal, sys
from contextlib import suppress
from pathlib import Path
from lightning_face.loggers import WandbConfig, make_loggers
_, wandb = make_loggers(Path(sys.argv[1]), WandbConfig("offline"), {})
wandb.log_metrics({"loss": 1.0}, 0)
children = [int(child) for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()]
assert children
for child in children:
    os.kill(child, signal.SIGTERM)
    with suppress(ChildProcessError):  # W&B was faster, and knows that it has ended
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
for step in range(1, 1000):
    wandb.log_metrics({"loss": 1.0}, step)
print("saved")
"""


def test_goes_on_when_it_has_ended(tmp_path: Path) -> None:
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
    # Other tests may have started a W&B process already, which this variable names.
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    result = subprocess.run(program, capture_output=True, text=True, timeout=240, env=environment)
    assert result.returncode == 0 and result.stdout.endswith("saved\n"), result.stderr[-2000:]
    assert result.stderr.count("W&B's process has ended") == 1
