"""Digits: grey pictures of 28 pixels, and accuracy on the classes that were trained."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data_prep.sources.mnist import make_mnist
from lightning_face.checkpoint.exported import load_backbone
from tests.e2e.test_commands import call
from tests.unit.data_prep.sources.test_mnist import idx

CONFIG = Path(__file__).parents[2] / "configs" / "mnist.yaml"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ten patterns with noise, 120 pictures to train on and 30 to test with, in MNIST's files."""
    folder = tmp_path_factory.mktemp("digits")
    draw = np.random.default_rng(1)
    patterns = draw.integers(0, 256, (10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    for name, count in {"train": 120, "t10k": 30}.items():
        labels = np.arange(count) % 10
        noisy = (0.7 * patterns[labels] + 0.3 * draw.integers(0, 256, (count, 28, 28))).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(noisy))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    make_mnist(folder, folder / "data", seed=0, shard_samples=100, workers=0)
    return folder / "data"


def test_known_classes_are_recognised(digits, tmp_path):
    run, sets = tmp_path / "run", f"{{test: {digits}/test}}"
    data = ("--data.train", digits / "train", "--data.identification", sets, "--data.global_batch_size", 20)
    short = ("--trainer.max_steps", 24, "--trainer.check_val_every_n_epoch", 2)
    call("fit", "--config", CONFIG, "--run_dir", run, *data, *short)
    with (run / "metrics.csv").open(newline="") as file:
        column = "identification/test/center_accuracy"
        accuracies = [float(row[column]) for row in csv.DictReader(file) if row[column]]
    assert len(accuracies) == 2 and accuracies[-1] > 0.3  # a tenth by chance

    call("test", "--run_dir", run)
    result = json.loads((run / "result.json").read_text())["identification"]
    assert result["test"]["center_accuracy"] == pytest.approx(accuracies[-1])
    assert 0.1 < result["test"]["classifier_accuracy"] <= 1.0

    call("export", run, tmp_path / "digits.safetensors")
    assert load_backbone(tmp_path / "digits.safetensors")(torch.zeros(2, 1, 28, 28)).shape == (2, 2)
