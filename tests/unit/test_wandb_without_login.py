"""The default mode of W&B on a machine where nobody is logged in; a process of its own, since wandb keeps its mode."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from lightning_face.loggers import WandbConfig, make_loggers
make_loggers(Path(sys.argv[1]), WandbConfig(), {})[1].experiment.finish()
"""


def test_auto_goes_offline(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**clean, "HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
    result = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 1
