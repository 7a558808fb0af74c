"""The recipes have the published numbers, and docs/recipes.md says so."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_face.optim.schedules import milestone_step

ROOT = Path(__file__).parents[2]

PUBLISHED: dict[str, tuple[str, int, float, tuple[int, ...], int]] = {
    "center_loss": ("face_resnet27", 256, 0.1, (16_000, 24_000), 28_000),
    "mml": ("inception_resnet_v1", 90, 0.05, (100_000, 200_000), 275_000),
    "sphereface20": ("sphereface20", 256, 0.1, (16_000, 24_000), 28_000),
    "cosface": ("sphereface64", 512, 0.1, (16_000, 24_000, 28_000), 30_000),
    "arcface_r50": ("iresnet50", 1024, 0.1, (), 20),
    "arcface_r100": ("iresnet100", 512, 0.1, (100_000, 160_000), 180_000),
    "adaface": ("iresnet50", 256, 0.1, (12, 20, 24), 26),
    "partial_fc": ("iresnet100", 4096, 0.3, (), 20),
}
"""Network, batch, learning rate, where it drops to a tenth, and length, in steps or epochs; the configs say whence."""


def read(path: Path) -> Any:
    """A config with its fragments in place."""
    return inlined(yaml.safe_load(path.read_text()), path.parent)


def inlined(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {name: inlined(inner, folder) for name, inner in value.items()}
    return read(folder / value) if isinstance(value, str) and value.endswith(".yaml") else value


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    network, batch, rate, drops, length = PUBLISHED[name]
    config = read(ROOT / "configs" / f"{name}.yaml")
    model, schedule = config["model"], config["model"]["schedule"]
    in_steps = "max_steps" in config["trainer"]
    assert config["trainer"]["max_steps" if in_steps else "max_epochs"] == length
    assert model["backbone"]["name"] == network
    assert config["data"]["global_batch_size"] == batch
    assert model["optimizer"]["init_args"]["lr"] == rate and model["optimizer"]["init_args"]["weight_decay"] == 5e-4
    assert model["objective"]["softmax"]["optimizer"]["weight_decay"] == 5e-4
    # Epochs of a million steps: the fractions are exact enough for any data.
    unit = 1 if in_steps else 1_000_000
    steps = [milestone_step(fraction, length * unit) for fraction in schedule.get("milestones", [])]
    assert [round(step / unit, 5) for step in steps] == list(drops)
    assert schedule["decay"] == ("step" if drops else "polynomial")
    assert schedule.get("gamma", 0.1) == 0.1 and schedule.get("power", 1.0) == 1.0

    (row,) = [line for line in (ROOT / "docs/recipes.md").read_text().splitlines() if f"configs/{name}.yaml) |" in line]
    shown_drops = ", ".join(f"{drop:,}" for drop in drops) or "line to 0"
    unit_name = "steps" if in_steps else "epochs"
    assert row.split(" | ")[2] == network
    assert row.split(" | ")[4:] == [f"{batch:,}", f"{rate:g}", shown_drops, f"{length:,} {unit_name} |"]


def test_every_recipe_is_in_the_table() -> None:
    assert {path.stem for path in (ROOT / "configs").glob("*.yaml")} - set(PUBLISHED) == {
        "quickstart",
        "lfw_view1",
        "lfw_best",
        "mnist",
    }
