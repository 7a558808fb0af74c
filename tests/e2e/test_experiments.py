"""The experiments on generated faces, shortened: arms are finished once, go on, and are compared."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser

from data_prep.synthetic.generate import make_synthetic
from experiments import all_losses, margin_bias, margin_rule, schemes, sweeps
from experiments.arms import Arm, options_of_data
from experiments.center_model import CenterModel
from experiments.command import CONFIGS, chosen
from experiments.face_arms import FaceArms, mml
from experiments.margin_rule import SHARE, share_of
from lightning_face.checkpoint.directory import Description
from lightning_face.data.batch_checks import check_batch, check_pairs, check_triplets
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.errors import ConfigError, DataError
from lightning_face.objectives.objective import ObjectiveConfig

FINISHED = ("center", "mml")
SHORT = ("--epochs", "2", "--further-epochs", "1", "--seeds", "1")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small take longer on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("experiments") / "data"
    make_synthetic(
        out, identities=30, images=200, known=2, held_out=20, pairs=40, size=32, quality=90, reuse=None, seed=0,
        shard_samples=100, workers=0,
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def config(data: Path) -> Path:
    """That of generated faces, smaller."""
    text = (CONFIGS / "experiments" / "generated.yaml").read_text()
    for former, now in (
        ("image_size: 64", "image_size: 32"),
        ("global_batch_size: 128", "global_batch_size: 40"),
        ("test_byobnet, embedding_dim: 128", "test_byobnet, embedding_dim: 16"),
        ("warmup_steps: 50", "warmup_steps: 1"),
        ("log_every_n_steps: 10", "log_every_n_steps: 1"),
    ):
        assert former in text
        text = text.replace(former, now)
    path = data.parent / "config.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def finished(data: Path, config: Path) -> Path:
    """The folder of `schemes`, of one seed."""
    out = data.parent / "schemes"
    schemes.main([str(data), str(out), "--config", str(config), *SHORT, "--only", *FINISHED])
    return out


def test_schemes_are_compared(finished: Path) -> None:
    table = (finished / "table.md").read_text()
    for arm, reference in schemes.REFERENCES.items():
        assert f"| {arm} | {reference or ''} | {'1 | 0.' if arm in FINISHED else '0 | missing'}" in table
    assert "verify/accuracy" in table and "known tail/identification" in table
    assert (finished / "differences.png").read_bytes().startswith(b"\x89PNG")
    logged = {arm: (finished / arm / "seed-1" / "metrics.csv").read_text().partition("\n")[0] for arm in FINISHED}
    assert "train/mml" not in logged["center"] and "train/mml" in logged["mml"]
    (model,) = (finished / "center" / "seed-1").glob("network.safetensors")
    arm = json.loads((finished / "mml" / "seed-1" / "arm.json").read_text())["options"]
    assert arm["model.init_from"] == str(model)


def test_the_mml_arm_has_the_share_that_the_rule_promises(finished: Path, data: Path) -> None:
    """The rule's margin and weight, as they are kept, are those of the center model as it lies there."""
    center = finished / "center" / "seed-1"
    given = json.loads((finished / "mml" / "seed-1" / "arm.json").read_text())["options"]["model.objective.mml"]
    arm = Arm(center, center, {})
    model = CenterModel.of(arm.network, arm.checkpoint, data / "train")
    assert share_of(model, given["margin"], given["weight"]) == pytest.approx(SHARE)


def test_what_the_rule_reads_of_a_run(finished: Path, data: Path) -> None:
    """Its weight as of a mean, whatever the reduction; without center loss of raw features there is nothing to read."""
    arm = Arm(finished / "center" / "seed-1", finished, {})
    checkpoint, train = arm.checkpoint, data / "train"

    def with_center(**options: Any) -> Description:
        changed = {f"model.objective.center.{name}": value for name, value in options.items()}
        return replace(checkpoint, options=checkpoint.options | changed)

    assert CenterModel.of(arm.network, checkpoint, train).weight == pytest.approx(0.003)
    assert CenterModel.of(arm.network, with_center(reduction="sum"), train).weight == pytest.approx(0.003 * 40)
    for without in (with_center(weight=None), with_center(weight=0.0), with_center(normalise=True)):
        with pytest.raises(ConfigError, match="the run has no center loss of raw features"):
            CenterModel.of(arm.network, without, train)


def test_the_rule_as_a_command(finished: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints options of `fit`: those that the arm was given."""
    given = json.loads((finished / "mml" / "seed-1" / "arm.json").read_text())["options"]["model.objective.mml"]
    margin_rule.main([str(finished / "center" / "seed-1"), str(data / "train")])
    said = capsys.readouterr().out.splitlines()
    options = {"margin": f"{given['margin']:.4g}", "weight": f"{given['weight']:.3g}"}
    assert said[-1] == " ".join(f"--model.objective.mml.{name} {value}" for name, value in options.items())
    with pytest.raises(SystemExit, match=r"error: .*known is not what the run was trained on"):
        margin_rule.main([str(finished / "center" / "seed-1"), str(data / "known")])


def test_finished_arms_are_not_trained_again(
    finished: Path, data: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing is done: a plot, an export, a test; the training of none."""
    folder = finished / "mml" / "seed-1"
    before = {path: path.stat() for path in folder.rglob("*.csv")}
    weights = (folder / "network.safetensors").read_bytes()
    (folder / "network.safetensors").unlink()
    (folder / "result.json").unlink()  # killed while it was tested
    (finished / "table.md").unlink()
    schemes.main([str(data), str(finished), "--config", str(config), *SHORT, "--only", *FINISHED])
    assert (folder / "network.safetensors").read_bytes() == weights and (folder / "result.json").is_file()
    assert {path: path.stat().st_size for path in before} == {path: stat.st_size for path, stat in before.items()}
    assert f"{finished / 'center' / 'seed-1'} is finished" in capsys.readouterr().out
    assert (finished / "table.md").is_file()


def test_an_arm_of_other_options_is_refused(finished: Path, data: Path, config: Path) -> None:
    with pytest.raises(SystemExit, match=r"begun with other options: trainer.max_epochs: 2 -> 3"):
        schemes.main([str(data), str(finished), "--config", str(config), "--epochs", "3", "--only", "center"])


def test_only_some_arms(data: Path, config: Path, finished: Path, tmp_path: Path) -> None:
    """Those behind them, which need a finished center model, are not asked for."""
    arms = [Arm(tmp_path / name / "seed-1", config, {}) for name in ("softmax", "center", "range")]

    def in_turn() -> Iterator[Arm]:
        yield from arms
        raise DataError("finish arm center first")

    assert list(chosen(in_turn(), ["range", "softmax"])) == [arms[0], arms[2]]
    with pytest.raises(DataError):
        list(chosen(in_turn(), None))
    with pytest.raises(SystemExit, match="error: --only cnter: there is no arm of this name"):
        schemes.main([str(data), str(finished), "--config", str(config), *SHORT, "--only", "cnter"])


def test_margin_bias_takes_the_finished_arms(finished: Path, data: Path, config: Path) -> None:
    margin_bias.main([str(data), str(finished), "--config", str(config), *SHORT])
    table = (finished / "margin_bias.md").read_text()
    assert "| mml_vs_all | mml | 1 |" in table and table.count("missing") == 18
    nearest = finished / "mml" / "seed-1" / "measured" / "nearest.json"
    kept = nearest.read_text()
    nearest.unlink()  # tested, and not measured yet
    margin_bias.main([str(data), str(finished), "--config", str(config), *SHORT, "--report"])
    assert (finished / "margin_bias.md").read_text().count("missing") == 27
    nearest.write_text(kept)
    for plot in ("nearest_centers", "frequency"):
        assert (finished / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_margin_bias_wants_the_center_models(data: Path, config: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="finish arm center first"):
        margin_bias.main([str(data), str(tmp_path / "out"), "--config", str(config), *SHORT])


def test_reports_show_what_is_missing(finished: Path, data: Path) -> None:
    """Sweeps that have not begun; another experiment's folder is not touched."""
    out = finished.parent / "sweeps"
    out.mkdir()
    sweeps.main([str(data), str(out), "--report"])
    table = (out / "table.md").read_text()
    assert all(f"| {arm} |" in table for arm in sweeps.references())
    assert (out / "sweeps.png").read_bytes().startswith(b"\x89PNG")


def test_mml_takes_part_in_the_second_half(finished: Path, data: Path, config: Path) -> None:
    faces = FaceArms(data, finished, config, 2, 1)
    given = json.loads((finished / "mml" / "seed-1" / "arm.json").read_text())["options"]["model.objective.mml"]
    center = faces.anew("center", 1, {})
    late = {**given, "from_step": center.checkpoint.step // 2}
    assert all_losses.late_mml(faces, center) == {"model.objective.mml": late} and late["from_step"] > 0


def test_every_loss_has_valid_options(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_losses, "late_mml", lambda faces, center: mml(4.0, 1e-3, from_step=1))
    faces = FaceArms(data, tmp_path, CONFIGS / "experiments" / "lfw.yaml", 1, 0)
    arms = {arm.folder.parent.name: arm for arm in all_losses.arms_of(faces, seed=1)}
    assert set(arms) == set(all_losses.REFERENCES)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ObjectiveConfig, "model.objective")
    configs = []
    for arm in arms.values():
        of_objective = {name: value for name, value in arm.options.items() if name.startswith("model.objective")}
        given = [f"--{name}={json.dumps(value)}" for name, value in of_objective.items()]
        configs.append(parser.instantiate_classes(parser.parse_args(given)).model.objective)
        of_data = {name.removeprefix("data."): value for name, value in arm.options.items() if name.startswith("data.")}
        if "mine_every_n_steps" in of_data:
            of_data["mine_every_n_steps"] = 4  # there are so few images
        module = FaceDataModule(**{"global_batch_size": 128, "images_per_identity": 2, **of_data})
        check_batch(module.order, 1, 1, 0)
        check_triplets(module.order, are_wanted=configs[-1].mines_offline)
        check_pairs(module.order, module.faces, 1, configs[-1].pair_losses)
    heads = {type(config.softmax.head).__name__ for config in configs if config.softmax is not None}
    assert len(heads) == 11  # all, and none
    minings = {config.triplet.mining for config in configs if config.triplet is not None}
    assert minings == {"offline", "semi_hard", "hardest_negative", "batch_hard", "batch_all"}
    terms = {name for config in configs for name in config.terms}
    assert terms == {"softmax", "center", "mml", "contrastive", "triplet", "marginal", "range"}


@pytest.mark.filterwarnings("ignore:The number of training batches")  # one
def test_the_config_for_lfw_runs(data: Path, tmp_path: Path) -> None:
    """A step of it, on other faces, and without centers; that for generated ones runs above."""
    short = {"trainer.max_epochs": 1, "model.schedule.warmup_steps": 0, "model.objective.center": None}
    arm = Arm(tmp_path / "arm", CONFIGS / "experiments" / "lfw.yaml", {**options_of_data(data), **short})
    arm.finish()
    assert arm.is_finished and "classifier" in arm.checkpoint.tables and "centers" not in arm.checkpoint.tables


def test_two_options_of_one_arm(tmp_path: Path, config: Path) -> None:
    """A comment in the config decides nothing."""
    arm = Arm(tmp_path / "arm", config, {"seed_everything": 1})
    arm._begin()
    commented = tmp_path / "commented.yaml"
    commented.write_text(f"# A remark.\n{config.read_text()}")
    Arm(arm.folder, commented, arm.options)._begin()
    with pytest.raises(ConfigError, match="seed_everything: 1 -> 2"):
        Arm(arm.folder, config, {"seed_everything": 2})._begin()
