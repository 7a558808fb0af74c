"""Runs of the real command line in processes of their own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TIMEOUT_S = 240


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """A dataset and a verification set of generated faces."""
    out = tmp_path_factory.mktemp("generated")
    command = ["synthetic", str(out), "--identities", "30", "--images", "400", "--held-out", "20", "--pairs", "120"]
    subprocess.run(
        [sys.executable, "-m", "data_prep", *command, "--size", "48", "--workers", "1", "--shard-samples", "150"],
        check=True,
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    return out


@pytest.fixture
def tiny_config(generated, tmp_path):
    """A config that trains a network without batch statistics for 2 epochs of 16 steps, in seconds."""
    return write_tiny_config(tmp_path / "tiny.yaml", generated)


def write_tiny_config(path: Path, generated: Path) -> Path:
    """See `tiny_config`."""
    path.write_text(
        f"""
trainer: {{accelerator: cpu, devices: 1, max_epochs: 2, log_every_n_steps: 1, precision: 32-true,
  gradient_clip_val: 1.0, enable_progress_bar: false}}
data:
  train: {generated}/train
  verification: {{held_out: {generated}/verify}}
  image_size: 32
  global_batch_size: 24
  num_workers: 0
  lanes: 8
  augment: {{flip: true, rotation_deg: 10, shift: 0.05, contrast: 0.2}}
model:
  backbone: {{name: test_convnext, embedding_dim: 16, neck: linear, dropout: 0.0}}
  objective:
    softmax: {{weight: 1.0}}
    center: {{weight: 0.003}}
    mml: {{weight: 5.0e-5, margin: 20}}
  optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.05, momentum: 0.9}}}}
  schedule: {{decay: cosine, warmup_steps: 4}}
wandb: {{mode: disabled}}
checkpoint: {{every_n_steps: 5, keep: 100}}
"""
    )
    return path


def command(*arguments: object) -> list[str]:
    """`python -m lightning_face` with arguments."""
    return [sys.executable, "-m", "lightning_face", *map(str, arguments)]


def environment() -> dict[str, str]:
    """One thread a process, so that results do not depend on how many cores are free; a port for each run."""
    inherited = {name: value for name, value in os.environ.items() if name != "MASTER_PORT"}
    return {**inherited, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def run_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, env=environment())


@contextlib.contextmanager
def started_fit(config: Path, run_dir: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """`fit` in the background, its output added to `RUN_DIR.log`; none of its processes outlives the block."""
    arguments = ("fit", "--config", config, "--run_dir", run_dir, *arguments)
    with run_dir.with_suffix(".log").open("a") as log:
        process = subprocess.Popen(
            command(*arguments), stdout=log, stderr=log, start_new_session=True, env=environment()
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def log_of(run_dir: Path, *, whole: bool = False) -> str:
    """What a background `fit` printed, or the end of it."""
    return run_dir.with_suffix(".log").read_text()[0 if whole else -4000 :]


def fit(config: Path, run_dir: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`fit`, which must succeed."""
    result = run_cli("fit", "--config", config, "--run_dir", run_dir, *arguments)
    assert result.returncode == 0, result.stderr[-4000:]
    return result
