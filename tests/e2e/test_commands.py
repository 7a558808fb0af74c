"""fit, validate, test and predict through the command line, and what each leaves in the run's folder."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lightning_face.__main__ import main

CONFIGS = sorted(path for path in (Path(__file__).parents[2] / "configs").glob("*.yaml") if path.stem != "mnist")
"""Those for faces; test_mnist has the other."""


def call(*arguments):
    """The command line in this process; must succeed."""
    assert main([str(argument) for argument in arguments]) == 0


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_trains(config, generated, tmp_path):
    """As it is, but for what is too large here: data, steps, batch and images."""
    data = ("--data.train", generated / "train", "--data.verification", f"{{held_out: {generated}/verify}}")
    image_size = 80 if config.stem == "mml" else 48  # Inception-ResNet-v1 takes none below 75
    small = ("--data.global_batch_size", 6, "--data.num_workers", 0, "--data.image_size", image_size)
    short = ("--trainer.max_steps", 2, "--trainer.log_every_n_steps", 1, "--model.schedule.warmup_steps", 0)
    here = ("--trainer.accelerator", "cpu", "--trainer.devices", 1, "--trainer.num_nodes", 1)
    late = ("--model.objective.mml.from_step", 1) if "from_step" in config.read_text() else ()
    options = (*data, *small, *short, *here, *late, "--trainer.precision", "32-true", "--wandb.mode", "disabled")
    call("fit", "--config", config, "--run_dir", tmp_path, *options)
    assert (tmp_path / "checkpoints" / "last" / "checkpoint.json").is_file()


def test_a_run_leaves_its_metrics_plots_and_config(tiny_config, tmp_path, capfd):
    run = tmp_path / "run"
    call("fit", "--config", tiny_config, "--run_dir", run)
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("train/loss", "train/softmax", "train/center", "train/mml", "train/learning_rate"):
        assert sum(bool(row[column]) for row in rows) == 32, column
    for name in ("softmax", "center", "accuracy", "displacement"):
        assert sum(bool(row[f"train/{name}_tail"]) for row in rows) >= 31, name
    assert all(len([row for row in rows if row[f"centers/{name}_tail"]]) == 2 for name in ("nearest", "staleness"))
    accuracies = [float(row["verification/held_out/accuracy"]) for row in rows if row["verification/held_out/accuracy"]]
    assert len(accuracies) == 2 and all(0.4 < accuracy <= 1.0 for accuracy in accuracies)
    assert {plot.name for plot in (run / "plots").iterdir()} == {
        "long_tail.png",
        "losses.png",
        "nearest_centers.png",
        "roc.png",
        "scores-held_out.png",
    }
    assert "data" in (run / "config.yaml").read_text()
    summary = capfd.readouterr().out
    for word in ("400 images, 30 identities", "test_convnext", "replicated", "24 = 1 ranks x 24 x 1 micro-batches"):
        assert word in summary

    call("validate", "--run_dir", run)
    call("test", "--run_dir", run)
    result = json.loads((run / "result.json").read_text())
    assert result["verification"]["held_out"]["accuracy"] == pytest.approx(max(accuracies), abs=1e-6)
    assert {"held_out", "held_out@sum"} == set(result["verification"])

    call("predict", "--run_dir", run)
    with np.load(run / "embeddings.npz", allow_pickle=False) as saved:
        assert saved["embeddings"].shape == (400, 32) and saved["labels"].shape == (400,)
        assert np.linalg.norm(saved["embeddings"], axis=1) == pytest.approx(np.ones(400), abs=1e-5)
        assert len(saved["identities"]) == 30


def test_bf16_accumulation_and_other_schedules(tiny_config, tmp_path):
    run = tmp_path / "run"
    options = ("--trainer.precision", "bf16-mixed", "--trainer.accumulate_grad_batches", 2, "--trainer.max_epochs", 1)
    schedule = ("--model.schedule.decay", "step", "--model.schedule.milestones", "[0.5, 0.8]")
    call("fit", "--config", tiny_config, "--run_dir", run, *options, *schedule)
    with (run / "metrics.csv").open(newline="") as file:
        rates = [float(row["train/learning_rate"]) for row in csv.DictReader(file) if row["train/learning_rate"]]
    assert rates[4] == pytest.approx(0.05) and rates[-1] == pytest.approx(0.0005)


def test_wandb_run_is_one_after_a_resume(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    run, options = tmp_path / "run", ("--wandb.mode", "offline", "--model.schedule.decay", "constant")
    for steps in (6, 10):
        call("fit", "--config", tiny_config, "--run_dir", run, "--trainer.max_steps", steps, *options)
        import wandb

        wandb.finish()
    folders = list((run / "wandb").glob("offline-run-*"))
    assert {folder.name.rsplit("-", 1)[1] for folder in folders} == {(run / "wandb_id.txt").read_text()}
    assert len(folders) == 2
    plots = {path.name.split("_")[0] for path in (run / "wandb").glob("offline-run-*/files/media/images/plots/*.png")}
    assert plots == {"losses", "long", "nearest"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trainer.max_epochs", "many"), "--trainer.max_epochs cannot be many: give a whole number"),
        (("--model.objective.center.weight", "x"), "--model.objective.center.weight cannot be x: give a number"),
        (
            ("--model.objective.softmax.head", "ArcFac"),
            "--model.objective.softmax.head cannot be ArcFac: there is no such class, the help names those there are",
        ),
        (
            ("--model.objective.softmax.head", "{class_path: ArcFace, init_args: {margin: 0.5}}"),
            "--model.objective.softmax.head cannot be {'class_path': 'ArcFace', 'init_args': {'margin': 0.5}}: Option"
            " 'margin' is not accepted",
        ),
        (
            ("--data.cache", "{folder:a,max_gb:1}"),
            "--data.cache cannot be {folder:a,max_gb:1}: in YAML a",
        ),
        (("--data.cache", "{folder: a}"), "--data.cache needs max_gb"),
        (("--model.schedule.decay", "cosin"), "--model.schedule.decay cannot be cosin: give cosine, poly"),
        (("--model.nothing", 3), "unrecognized arguments: --model.nothing 3"),
    ],
)
def test_what_the_parser_cannot_read_is_one_line(arguments, message, tiny_config, tmp_path, capsys):
    assert main(["fit", "--config", str(tiny_config), "--run_dir", str(tmp_path), *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {message}") and line.endswith("see `python -m lightning_face fit --help`")
