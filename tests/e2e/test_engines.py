"""FSDP2 and DeepSpeed through the command line: train, and evaluate what was saved."""

import csv
import json

import pytest

from tests.e2e.conftest import fit, run_cli

# Large enough a layer that ZeRO 3 shares it out.
OPTIONS = (
    *("--model.backbone.name", "test_byobnet", "--model.backbone.neck", "flatten"),
    *("--model.backbone.embedding_dim", 512, "--trainer.devices", 2),
    *("--model.objective.softmax.placement", "sharded", "--model.objective.center.placement", "sharded"),
    # The whole network runs between steps too, in evaluation mode.
    *("--model.objective.triplet", "{mining: offline}", "--data.mine_every_n_steps", 7),
)


@pytest.mark.parametrize("engine, precision", [("fsdp2", "32-true"), ("deepspeed_stage_3", "bf16-mixed")])
def test_what_is_trained_is_evaluated(tiny_config, tmp_path, engine, precision):
    run = tmp_path / "run"
    options = ("--trainer.strategy", engine, "--trainer.precision", precision, *OPTIONS)
    fit(tiny_config, run, *options, "--trainer.max_epochs", 1)
    tested = run_cli("test", "--run_dir", run)
    assert tested.returncode == 0, tested.stderr[-4000:]
    with (run / "metrics.csv").open(newline="") as file:
        logged = [row["verification/held_out/auc"] for row in csv.DictReader(file)]
    auc = json.loads((run / "result.json").read_text())["verification"]["held_out"]["auc"]
    assert auc == pytest.approx(float(next(value for value in reversed(logged) if value)), abs=1e-4)
