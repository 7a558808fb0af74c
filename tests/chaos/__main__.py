"""`python -m tests.chaos OUT`: strike a run again and again; at the end nothing may show."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lightning_face.evaluation.drawing import save
from tests.chaos.events import EVERY_N_STEPS
from tests.chaos.report import picture, table
from tests.chaos.run import Attempt, ChaosError, survive
from tests.chaos.verdict import check_costs, check_samples
from tests.e2e.outcome import differences, final, losses

STEPS_PER_EVENT = 20
"""Enough that the run is not done before its last event."""


def write_config(path: Path, data: Path, num_steps: int) -> None:
    """A config of a small network that trains for so many steps, without what depends on the number of ranks."""
    path.write_text(
        f"""
trainer: {{accelerator: cpu, devices: 2, max_steps: {num_steps}, log_every_n_steps: 5, enable_progress_bar: false}}
data: {{train: {data}/train, verification: {{held_out: {data}/verify}}, image_size: 32, global_batch_size: 24,
  num_workers: 1, lanes: 8, augment: {{flip: true, rotation_deg: 10}}}}
model:
  backbone: {{name: test_convnext, embedding_dim: 16, neck: linear, dropout: 0.0}}
  objective: {{softmax: {{placement: sharded}}, center: {{placement: sharded}}, mml: {{weight: 5.0e-5, margin: 20}}}}
  optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.05, momentum: 0.9}}}}
wandb: {{mode: disabled}}
checkpoint: {{every_n_steps: {EVERY_N_STEPS}, keep: 4}}
"""
    )


def chaos(
    out: Path, data: Path, *, seed: int, num_events: int, tell: Callable[[str], object]
) -> tuple[list[Attempt], list[Attempt]]:
    """Strike one run of two ranks, and one whose number of ranks changes from attempt to attempt.

    Args:
        out: folder for the runs.
        data: with `train` and `verify`.
        seed: of the events.
        num_events: of each run.
        tell: told what happens, a line each.

    Returns:
        The attempts of each run.

    Raises:
        ChaosError: a promise was not kept.
    """
    config = out / "config.yaml"
    write_config(config, data, STEPS_PER_EVENT * num_events)
    run = partial(survive, config, tell=tell)
    (calm,) = run(out / "calm", seed=seed, num_events=0, ranks=lambda number: 2)
    plan = {step: samples for step, _, samples in calm.trained}
    constant = list(run(out / "constant", seed=seed, num_events=num_events, ranks=lambda number: 2))
    changing = list(run(out / "changing", seed=seed + 1, num_events=num_events, ranks=lambda number: 1 + number % 3))
    for name, attempts in (("constant", constant), ("changing", changing)):
        check_samples(plan, attempts)
        check_costs(attempts)
        if [step for step, _ in losses(out / name)] != [step for step, _ in losses(out / "calm")]:
            raise ChaosError(f"{out / name}/metrics.csv has gaps or repeats")
    if different := differences(final(out / "constant"), final(out / "calm")):
        raise ChaosError(f"with a constant number of ranks, other bits at the end: {different}")
    return constant, changing


def main() -> None:
    """Make faces, and strike."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for faces and runs; must not exist")
    parser.add_argument("--events", type=int, default=100, help="over both runs (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the events (%(default)s)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    command = ["synthetic", arguments.out / "data", "--identities", 30, "--images", 400, "--held-out", 20]
    command += ["--pairs", 120, "--size", 48, "--shard-samples", 150]
    subprocess.run([sys.executable, "-m", "data_prep", *map(str, command)], check=True)
    half = arguments.events // 2
    tell = partial(print, flush=True)
    runs = chaos(arguments.out, arguments.out / "data", seed=arguments.seed, num_events=half, tell=tell)
    (arguments.out / "chaos.md").write_text(table(runs) + "\n")
    save(picture(runs), arguments.out / "chaos.png")
    print(f"\n{table(runs)}\n\nEvery step was made of the planned samples; the weights are those of a run left alone.")


if __name__ == "__main__":
    main()
