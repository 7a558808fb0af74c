"""Digits: grey pictures of 28 pixels, and accuracy on the classes that were trained."""

import csv
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from data_prep.sources.mnist import make_mnist
from experiments.features import embedded
from experiments.mnist_toy import arms_of, main
from tests.e2e.test_commands import call
from tests.unit.data_prep.sources.test_mnist import idx

CONFIG = Path(__file__).parents[2] / "configs" / "mnist.yaml"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ten patterns with noise, 130 pictures to train on and 30 to test with, in MNIST's files."""
    folder = tmp_path_factory.mktemp("digits")
    draw = np.random.default_rng(1)
    patterns = draw.integers(0, 256, (10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    for name, count in {"train": 130, "t10k": 30}.items():
        labels = np.arange(count) % 10
        noisy = (0.7 * patterns[labels] + 0.3 * draw.integers(0, 256, (count, 28, 28))).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(noisy))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    make_mnist(folder, folder / "data", seed=0, shard_samples=100, workers=0)
    return folder / "data"


def test_accuracy_on_known_classes_is_that_of_loops(digits, tmp_path):
    run, sets = tmp_path / "run", f"{{test: {digits}/test}}"
    data = ("--data.train", digits / "train", "--data.identification", sets, "--data.global_batch_size", 20)
    call("fit", "--config", CONFIG, "--run_dir", run, *data, "--trainer.max_steps", 6, "--trainer.log_every_n_steps", 1)
    with (run / "metrics.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["identification/test/center_accuracy"]]

    call("test", "--run_dir", run)
    exported = tmp_path / "digits.safetensors"
    call("export", run, exported, "--classifier", "--centers")
    features, labels = (tensor.numpy() for tensor in embedded(exported, digits / "test"))
    tables = {name: tensor.double().numpy() for name, tensor in load_file(exported).items() if name != "identities"}
    nearest = [np.linalg.norm(tables["centers"] - feature, axis=1).argmin() for feature in features]
    largest = [(tables["classifier"] @ feature).argmax() for feature in features]
    expected = {"classifier_accuracy": (largest == labels).mean(), "center_accuracy": (nearest == labels).mean()}
    assert json.loads((run / "result.json").read_text())["identification"] == {"test": pytest.approx(expected)}
    assert {name: float(row[f"identification/test/{name}"]) for name in expected} == pytest.approx(expected)
    assert len({*nearest}) > 1  # the classifier, after six steps, may take all for one


@pytest.mark.parametrize("dim, init_std", [(2, 0.707), (8, 0.354), (64, 0.125)])
def test_first_rows_of_the_classifier_have_unit_length(dim, init_std, digits, tmp_path):
    """In two dimensions as in the config; rows three times as long make 64 dimensions diverge."""
    options = Namespace(data=digits, out=tmp_path, config=CONFIG, dims=[dim], weights=[0.1], steps=2)
    (arm,) = arms_of(options, seed=1)
    assert arm.options["model.objective.softmax.init_std"] == init_std
    assert dim != 2 or f"init_std: {init_std}" in CONFIG.read_text()


@pytest.mark.filterwarnings("ignore:The number of training batches")  # one, of so few pictures
def test_the_toy_is_swept_and_goes_on(digits, tmp_path):
    out = tmp_path / "toy"
    short = (str(digits), str(out), "--steps", "2")
    main([*short, "--weights", "0.1"])
    main([*short, "--weights", "0", "0.1", "--report"])
    *_, other, row = (out / "table-2d.md").read_text().splitlines()
    first = (out / "2d_weight_0.1" / "seed-1" / "result.json").stat()
    assert "missing" in other and "missing" not in row

    main([*short, "--weights", "0", "0.1"])
    *_, other, again = (out / "table-2d.md").read_text().splitlines()
    assert other.startswith("| 2d_weight_0 |  | 1 |") and "missing" not in other
    # Of the same figures; only now is there an arm to compare it with.
    assert again.split("|")[4] == row.split("|")[4] and row.split("|")[5].strip() == "" != again.split("|")[5].strip()
    assert (out / "2d_weight_0.1" / "seed-1" / "result.json").stat() == first
    assert (out / "scatter.png").read_bytes().startswith(b"\x89PNG")
