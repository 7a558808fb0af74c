"""Pairing over seeds, by hand; arms that did not see the same data are not compared."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from experiments.comparison import Comparison, Estimate
from lightning_face.checkpoint.directory import Description
from lightning_face.errors import DataError

REFERENCES = {"plain": None, "better": "plain", "absent": "plain"}


def test_estimate_by_hand() -> None:
    estimate = Estimate.of([1.0, 2.0, 6.0])
    assert estimate.mean == 3.0 and estimate.count == 3
    assert estimate.std_error == pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3))
    assert estimate.shown() == "3.0000 ± 1.5275" and Estimate.of([0.25]).shown(signed=True) == "+0.2500"
    assert Estimate.of([280.0, 290.0]).shown() == "285.00 ± 5.00"


def test_differences_are_paired_over_the_seeds_that_both_have() -> None:
    figures = {
        "plain": {1: {"accuracy": 0.5}, 2: {"accuracy": 0.9}, 3: {}},
        "better": {2: {"accuracy": 0.92}, 1: {"accuracy": 0.54}, 3: {"accuracy": 0.1}, 4: {"accuracy": 0.2}},
        "absent": {},
    }
    comparison = Comparison(REFERENCES, figures)
    assert comparison.differences("better", "accuracy") == pytest.approx([0.02, 0.04])
    assert comparison.differences("plain", "accuracy") == []
    *_, plain, better, absent = comparison.table(["accuracy"]).splitlines()
    assert plain == "| plain |  | 3 | 0.7000 ± 0.2000 |  |"
    # Seeds differ by 0.4, but the arms by as much in each: the standard error is that of the differences.
    assert better.endswith("| +0.0300 ± 0.0100 |")
    assert absent == "| absent | plain | 0 | missing |  |"


def arm(out: Path, name: str, seed: int, position: dict[str, int], accuracy: float, **options: str) -> None:
    """A finished arm's folder, as far as a comparison looks at it."""
    folder = out / name / f"seed-{seed}"
    checkpoint = folder / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    description = Description(1, position, {}, {}, {}, "ddp", 1)
    (checkpoint / "checkpoint.json").write_text(json.dumps(asdict(description)))
    (folder / "arm.json").write_text(json.dumps({"config": [], "options": {"seed_everything": seed, **options}}))
    (folder / "result.json").write_text(json.dumps({"verification": {"lfw": {"accuracy": accuracy}}}))
    (folder / "network.safetensors").touch()


def test_reads_what_is_finished(tmp_path: Path) -> None:
    arm(tmp_path, "plain", 1, {"consumed": 8}, 0.5)
    arm(tmp_path, "better", 1, {"consumed": 8}, 0.75)
    arm(tmp_path, "better", 2, {"consumed": 8}, 0.8)
    (tmp_path / "better" / "seed-2" / "network.safetensors").unlink()
    measured = tmp_path / "better" / "seed-1" / "measured"
    measured.mkdir()
    (measured / "more.json").write_text(json.dumps({"known": {"auc": 1, "list": [1, 2]}, "name": "no number"}))
    comparison = Comparison.read(tmp_path, REFERENCES)
    assert comparison.figures["better"] == {1: {"lfw/accuracy": 0.75, "known/auc": 1.0}}
    assert comparison.differences("better", "lfw/accuracy") == [0.25]
    assert comparison.names("/auc", "/accuracy") == ["known/auc", "lfw/accuracy"]


def test_arms_that_saw_other_data_are_refused(tmp_path: Path) -> None:
    arm(tmp_path, "plain", 1, {"consumed": 8}, 0.5)
    arm(tmp_path, "better", 1, {"consumed": 9}, 0.75)
    with pytest.raises(DataError, match="better/seed-1 and plain, seed 1, have not seen the same data"):
        Comparison.read(tmp_path, REFERENCES)
    assert Comparison.read(tmp_path, REFERENCES, apart=["better"]).differences("better", "lfw/accuracy") == [0.25]


def test_arms_that_begin_with_another_are_compared_among_themselves(tmp_path: Path) -> None:
    arm(tmp_path, "plain", 1, {"consumed": 8}, 0.5)
    arm(tmp_path, "better", 1, {"consumed": 4}, 0.75, **{"model.init_from": "plain"})
    assert Comparison.read(tmp_path, REFERENCES).figures["better"]
    arm(tmp_path, "absent", 1, {"consumed": 5}, 0.75, **{"model.init_from": "plain"})
    with pytest.raises(DataError, match="absent/seed-1 and better"):
        Comparison.read(tmp_path, REFERENCES)
