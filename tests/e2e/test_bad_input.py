"""Promise P8 through the command line: one line that says what to do, before anything is trained; exit code not 0."""

import csv
import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from lightning_face.__main__ import main
from lightning_face.data.manifest import INDEX_DTYPE
from tests.disk import full_disk
from tests.e2e.outcome import differences, final
from tests.unit.checkpoint.test_directory import altered

OFFLINE = ("--model.objective.triplet", "{mining: offline}", "--data.mine_every_n_steps")


@pytest.fixture
def dataset(generated, tmp_path):
    """A copy of the training set, to be damaged."""
    shutil.copytree(generated / "train", tmp_path / "train")
    return tmp_path / "train"


def error_of(capfd, *arguments):
    """The one line that `python -m lightning_face` prints before it gives up."""
    code = main([str(argument) for argument in arguments])
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert code == 2 and len(lines) == 1, (code, lines)
    return lines[0]


def write_index(folder, change):
    """Change the index, and its checksum in the manifest."""
    index = np.fromfile(folder / "index.bin", dtype=INDEX_DTYPE)
    change(index)
    index.tofile(folder / "index.bin")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["index_sha256"] = hashlib.sha256((folder / "index.bin").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def too_large(index):
    index["label"][5] = 30


def negative(index):
    index["label"][5] = -1


@pytest.mark.parametrize("change, label", [(too_large, "30"), (negative, "-1")])
def test_label_out_of_range(tiny_config, dataset, tmp_path, capfd, change, label):
    write_index(dataset, change)
    error = error_of(capfd, "fit", "--config", tiny_config, "--run_dir", tmp_path / "run", "--data.train", dataset)
    assert f"sample 5 has label {label}" in error and "[0, 30)" in error


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda shard: shard.unlink(), "is missing"),
        (lambda shard: shard.write_bytes(b""), "has 0 bytes"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:5000]), "has 5000 bytes"),
    ],
)
def test_damaged_shard(tiny_config, dataset, tmp_path, capfd, damage, named):
    damage(dataset / "shard-000001.tar")
    error = error_of(capfd, "fit", "--config", tiny_config, "--run_dir", tmp_path / "run", "--data.train", dataset)
    assert "shard-000001.tar" in error and named in error


def test_manifest_of_other_tars(tiny_config, dataset, tmp_path, capfd):
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["num_samples"] += 1
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    error = error_of(capfd, "fit", "--config", tiny_config, "--run_dir", tmp_path / "run", "--data.train", dataset)
    assert "does not belong to the manifest" in error


@pytest.mark.parametrize(
    "options, named",
    [
        (("--trainer.devices", 5), "1 = 5; the nearest is 20 or 25"),
        (("--trainer.accumulate_grad_batches", 5), "1 x 5 = 5; the nearest is 20 or 25"),
        (("--data.global_batch_size", 500), "use at most 400"),
        (("--trainer.max_epochs", -1), "set trainer.max_epochs or trainer.max_steps"),
        (("--trainer.limit_train_batches", 3), "use trainer.max_steps"),
        (("--trainer.limit_val_batches", 2), "would leave samples out"),
        (("--trainer.fast_dev_run", "true"), "not supported"),
        (("--trainer.enable_checkpointing", "true"), "not supported"),
        (("--trainer.precision", "16-mixed"), "32-true or bf16-mixed"),
        (("--trainer.strategy", "fsdp"), "must be auto or one of ddp, fsdp2"),
        (("--trainer.logger", "true"), "has no effect"),
        (("--model.objective.center", "null"), "objective.mml needs"),
        (
            ("--model.objective.softmax.head", "ArcFace", "--model.objective.softmax.head.margin_rad", 28.6),
            "softmax.head.margin_rad must be in [0, pi/2], in radians, got 28.6",
        ),
        (("--model.objective.triplet", "{}"), "set data.images_per_identity to 2 or more"),
        (("--data.mine_every_n_steps", 3), "set objective.triplet.mining to offline"),
        ((*OFFLINE, "null"), "triplets that nothing mines: set data.mine_every_n_steps"),
        ((*OFFLINE, 0), "data.mine_every_n_steps must be at least 1"),
        ((*OFFLINE, 51), "use at most 50"),
        ((*OFFLINE, 2, "--data.num_workers", 1), "data.mine_every_n_steps must be at least 3, got 2"),
        ((*OFFLINE, 3, "--trainer.devices", 6), "samples of a triplet x ranks x accumulation = 3 x 6 x 1 = 18"),
        (
            ("--model.objective.softmax.head", "CosFace", "--model.objective.softmax.head.margin", 28),
            "softmax.head.margin must be in [0, 1], a difference of cosines, got 28",
        ),
        (
            ("--model.objective.softmax.head", "MagFace", "--model.objective.softmax.head.scale", 0),
            "softmax.head.scale must be above 0, got 0",
        ),
        (("--model.objective.center.normalise", "true"), "mml.margin must be at most 4 with center.normalise"),
        (("--model.objective.softmax.weight", 0), "softmax.weight must be above 0"),
        (
            ("--model.objective", "{softmax: null, mml: null, center: {weight: 0}}"),
            "objective has no term left that trains the network: set objective.softmax, a pair loss, a center.weight",
        ),
        (("--non_finite.at_most", 0), "non_finite.at_most must be above 0, got 0"),
        (
            ("--non_finite.action", "skip", "--trainer.strategy", "deepspeed_stage_1"),
            "non_finite.action skip does not work with deepspeed_stage_1",
        ),
        (("--model.average_decay", 1), "model.average_decay must be above 0 and below 1, got 1"),
        (
            ("--model.average_decay", 0.9, "--trainer.strategy", "deepspeed_stage_1"),
            "model.average_decay does not work with deepspeed_stage_1",
        ),
        (("--model.backbone.name", "resnet10x"), "did you mean"),
        (("--run_dir", "/proc/nowhere"), "cannot be written"),
        (("--data.train", "/nowhere"), "/nowhere/manifest.json is missing"),
    ],
)
def test_options_that_cannot_work(tiny_config, tmp_path, capfd, options, named):
    assert named in error_of(capfd, "fit", "--config", tiny_config, "--run_dir", tmp_path / "run", *options)


def test_nothing_to_identify_with(tiny_config, generated, tmp_path, capfd):
    objective = ("--model.objective", "{softmax: null, center: null, mml: null, triplet: {}}")
    sets = ("--data.images_per_identity", 2, "--data.identification", f"{{train: {generated}/train}}")
    error = error_of(capfd, "fit", "--config", tiny_config, "--run_dir", tmp_path / "run", *objective, *sets)
    assert "data.identification compares with the classifier or the centers, and there is neither" in error


def test_pairs_that_name_no_image(tiny_config, generated, tmp_path, capfd):
    shutil.copytree(generated / "verify", tmp_path / "verify")
    with (tmp_path / "verify" / "pairs.csv").open("a") as file:
        file.write("3,99999,1,0\n")
    sets = "{held_out: " + str(tmp_path / "verify") + "}"
    options = ("--run_dir", tmp_path / "run", "--data.verification", sets)
    error = error_of(capfd, "fit", "--config", tiny_config, *options)
    assert "pairs.csv" in error and "99999" in error


def test_unknown_key(tiny_config, tmp_path, capfd):
    error = error_of(capfd, "fit", "--config", tiny_config, "--run_dir", tmp_path / "run", "--data.batchsize", 3)
    assert "--data.batchsize" in error


def test_nothing_to_evaluate(tiny_config, tmp_path, capfd):
    (tmp_path / "run").mkdir()
    error = error_of(capfd, "test", "--config", tiny_config, "--run_dir", tmp_path / "run")
    assert "has no checkpoint" in error


def test_loss_that_is_not_finite(tiny_config, tmp_path, capfd):
    options = ["--trainer.gradient_clip_val", "null", "--model.optimizer.init_args.lr", "1e30"]
    code = main(["fit", "--config", str(tiny_config), "--run_dir", str(tmp_path / "run"), *options])
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert code == 3 and len(lines) == 1
    assert "step 1 " in lines[0] and "softmax" in lines[0] and "last good checkpoint: none" in lines[0]


def test_losses_that_are_not_finite_any_more_are_skipped_so_many_times(tiny_config, tmp_path, capfd):
    """The weights are lost: no step after the first can be made."""
    options = ["--trainer.gradient_clip_val", "null", "--model.optimizer.init_args.lr", "1e30"]
    options += ["--non_finite.action", "skip", "--non_finite.at_most", "2"]
    code = main(["fit", "--config", str(tiny_config), "--run_dir", str(tmp_path / "run"), *options])
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("error"))
    assert code == 3 and "step 3 " in line and "after 2 times that non_finite.action skip" in line
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        assert [float(row["train/skipped_steps"]) for row in csv.DictReader(file)] == [0.0, 1.0, 2.0]


def test_damaged_images_are_replaced_and_counted(tiny_config, dataset, tmp_path):
    with (dataset / "shard-000000.tar").open("r+b") as shard:
        shard.seek(20_000)
        shard.write(b"\x00" * 30_000)
    assert (
        main(["fit", "--config", str(tiny_config), "--run_dir", str(tmp_path / "run"), "--data.train", str(dataset)])
        == 0
    )
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        replaced = [float(row["data/replaced"]) for row in csv.DictReader(file) if row["data/replaced"]]
    assert replaced[-1] > 0


class TestCheckpoints:
    """A run of one epoch, resumed with something changed."""

    @pytest.fixture
    def trained(self, tiny_config, tmp_path):
        run = tmp_path / "run"
        assert main(["fit", "--config", str(tiny_config), "--run_dir", str(run), "--trainer.max_epochs", "1"]) == 0
        return run

    @pytest.mark.parametrize(
        "options, named",
        [
            (("--model.objective.center.rate", 0.9), "model.objective.center.rate: 0.5 -> 0.9"),
            (("--model.backbone.embedding_dim", 8), "model.backbone.embedding_dim: 16 -> 8"),
            (("--data.lanes", 4), "'lanes': 4"),
            (("--seed_everything", 3), "seed: 1 -> 3"),
        ],
    )
    def test_other_options(self, tiny_config, trained, capfd, options, named):
        capfd.readouterr()
        assert named in error_of(capfd, "fit", "--config", tiny_config, "--run_dir", trained, *options)

    def test_other_dataset(self, tiny_config, trained, dataset, capfd):
        manifest = json.loads((dataset / "manifest.json").read_text())
        manifest["shuffled"] = False
        (dataset / "manifest.json").write_text(json.dumps(manifest))
        capfd.readouterr()
        error = error_of(capfd, "fit", "--config", tiny_config, "--run_dir", trained, "--data.train", dataset)
        assert "manifest_hash" in error

    def test_one_wrong_bit(self, tiny_config, trained, capfd, caplog):
        """The one before is used, and said; asked for by name, it is refused. Nothing but reading it all can tell."""
        altered(trained / "checkpoints" / "last" / "dense.ckpt")
        capfd.readouterr()
        damaged = (trained / "checkpoints" / "last").resolve()
        options = ("--config", tiny_config, "--run_dir", trained)
        assert "dense.ckpt is not what was written" in error_of(capfd, "fit", *options, "--ckpt_path", damaged)
        with caplog.at_level("INFO"):
            assert main(["fit", *map(str, options)]) == 0
        assert f"{damaged} is damaged" in caplog.text
        assert f"going on from {damaged.with_name('step-00000015')}" in caplog.text
        with (trained / "metrics.csv").open(newline="") as file:
            steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
        assert steps == sorted(set(steps))  # those after it were made again, and are there once

    def test_two_attempts_do_not_mix(self, tiny_config, trained, tmp_path, capfd, caplog):
        """An earlier checkpoint may begin another run; beside later ones it is refused, but where it was the beginning:
        the same command again goes on.
        """
        earlier = ("--config", tiny_config, "--ckpt_path", trained / "checkpoints" / "step-00000005")
        capfd.readouterr()
        assert "has step-00000016 already" in error_of(capfd, "fit", *earlier, "--run_dir", trained)
        other = ["--run_dir", tmp_path / "other", "--trainer.max_epochs", 1]
        with caplog.at_level("INFO"):
            assert [main(["fit", *map(str, (*earlier, *other))]) for _ in range(2)] == [0, 0]
        begun = [trained / "checkpoints" / "step-00000005", tmp_path / "other" / "checkpoints" / "step-00000016"]
        assert re.findall("going on from (.*)", caplog.text) == list(map(str, begun))
        assert differences(final(tmp_path / "other"), final(trained)) == []
        assert "ckpt_path: null" in (tmp_path / "other" / "config.yaml").read_text()

    def test_none_is_whole(self, tiny_config, trained, capfd):
        before = (trained / "metrics.csv").read_bytes()
        for checkpoint in (trained / "checkpoints").glob("step-*"):
            (checkpoint / "tables-00000.safetensors").write_bytes(b"")
        capfd.readouterr()
        assert "is whole" in error_of(capfd, "fit", "--config", tiny_config, "--run_dir", trained)
        assert (trained / "metrics.csv").read_bytes() == before

    def test_evaluated_with_another_network(self, tiny_config, trained, capfd):
        capfd.readouterr()
        options = ("--config", tiny_config, "--run_dir", trained, "--model.backbone.embedding_dim", 8)
        assert "model.backbone.embedding_dim: 16 -> 8" in error_of(capfd, "test", *options)


def test_evaluating_no_run(tmp_path, capfd):
    assert "is no run folder" in error_of(capfd, "test", "--run_dir", tmp_path / "typo")


def test_damaged_image_of_a_verification_set(tiny_config, generated, tmp_path, capfd):
    """Another face in its place would falsify the accuracy."""
    shutil.copytree(generated / "verify", tmp_path / "verify")
    with (tmp_path / "verify" / "shard-000000.tar").open("r+b") as shard:
        shard.seek(20_000)
        shard.write(b"\x00" * 10_000)
    sets = "{held_out: " + str(tmp_path / "verify") + "}"
    options = ("--run_dir", tmp_path / "run", "--data.verification", sets)
    assert "is no readable JPEG" in error_of(capfd, "fit", "--config", tiny_config, *options)


def test_weights_that_are_not_finite_are_not_saved(tiny_config, tmp_path, capfd):
    options = ["--trainer.gradient_clip_val", "null", "--model.optimizer.init_args.lr", "1e30"]
    options += ["--checkpoint.every_n_steps", "1", "--model.optimizer.init_args.weight_decay", "1e30"]
    code = main(["fit", "--config", str(tiny_config), "--run_dir", str(tmp_path / "run"), *options])
    assert code == 3 and "is not saved" in capfd.readouterr().err
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*"))


def test_full_disk(tiny_config, tmp_path, capfd):
    """Nothing half-written stays, neither as a checkpoint nor beside it."""
    options = ("--config", tiny_config, "--run_dir", tmp_path / "run", "--data.verification", "{}")
    with full_disk(50_000), pytest.warns(UserWarning, match="training goes on, 1 saves have failed"):
        error = error_of(capfd, "fit", *options, "--trainer.max_steps", 5)
    assert "step-00000005 could not be written (File too large)" in error and "another --run_dir" in error
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_default_optimizer_can_be_resumed(tiny_config, tmp_path):
    text = tiny_config.read_text().splitlines()
    tiny_config.write_text("\n".join(line for line in text if "optimizer: {class_path" not in line))
    options = ["--config", str(tiny_config), "--run_dir", str(tmp_path / "run"), "--model.schedule.decay", "constant"]
    for steps in (5, 8):
        assert main(["fit", *options, "--trainer.max_steps", str(steps)]) == 0
    assert (tmp_path / "run" / "checkpoints" / "step-00000008").is_dir()


def test_error_of_a_data_worker_is_one_line(tiny_config, dataset, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("lightning_face.data.faces.Faces.MAX_DAMAGED_IN_A_ROW", 2)
    with (dataset / "shard-000001.tar").open("r+b") as shard:
        shard.seek(20_000)
        shard.write(b"\x00" * 100_000)
    options = ("--run_dir", tmp_path / "run", "--data.train", dataset, "--data.num_workers", 1)
    error = error_of(capfd, "fit", "--config", tiny_config, *options)
    assert "no readable JPEGs" in error and "Traceback" not in error
