"""Verification sets are scored by sample id, whatever the order of batches."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_face.callbacks.result import Result
from lightning_face.callbacks.verification import MONITORED, Verification
from lightning_face.data.faces import Faces
from lightning_face.errors import ConfigError, DataError
from lightning_face.evaluation.embeddings import Fusion
from lightning_face.evaluation.pairs import PairList, read_pairs


@pytest.fixture
def pairs(faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> PairList:
    """Every fourth sample against its neighbours, without folds."""
    labels = faces.shards.index["label"]
    lines = [
        f"{left},{right},{int(labels[left] == labels[right])},-1" for left in range(0, 60, 4) for right in range(61, 99)
    ]
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    path.write_text("left,right,same,fold\n" + "\n".join(lines) + "\n")
    return read_pairs(path, len(faces))


@pytest.fixture
def score(
    trainer: Callable[..., Any], module: Any, faces: Faces, batches: list[Any], pairs: PairList
) -> Callable[..., Verification]:
    """Runs one validation of two equal sets."""

    def run(fusions: list[Fusion] | None = None, spoil: bool = False, **changes: Any) -> Verification:
        callback = Verification(fusions)
        callback._pairs = {"tiny": pairs, "again": pairs}
        run_trainer = trainer(datamodule=SimpleNamespace(verification={"tiny": faces, "again": faces}), **changes)
        callback.on_validation_epoch_start(run_trainer, module)
        for dataloader_idx in (0, 1):
            for number, (batch, features) in enumerate(batches):
                outputs = features.flip(0) if spoil and dataloader_idx else features
                callback.on_validation_batch_end(run_trainer, module, outputs, (batch, None), number, dataloader_idx)
        callback.on_validation_epoch_end(run_trainer, module)
        if run_trainer.state.fn == "test":
            run_trainer.callbacks = [callback]
            Result().on_test_end(run_trainer, module)
        return callback

    return run


def test_perfect_features_are_perfect(score: Callable[..., Verification], module: Any, tmp_path: Path) -> None:
    score()
    for name in ("tiny", "again"):
        assert module.logged[f"verification/{name}/accuracy"] == module.logged[f"verification/{name}/auc"] == 1.0
        assert module.logged[f"verification/{name}/accuracy@sum"] == 1.0
    assert module.logged[MONITORED] == 1.0
    plots = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert plots == ["roc.png", "scores-again.png", "scores-tiny.png"]


def test_monitored_is_the_mean_over_the_sets(score: Callable[..., Verification], module: Any) -> None:
    score(spoil=True)
    second = module.logged["verification/again/accuracy"]
    assert second < 1.0
    assert module.logged[MONITORED] == pytest.approx((1.0 + second) / 2)


def test_first_fusion_has_no_suffix(score: Callable[..., Verification], module: Any) -> None:
    score(fusions=["sum", "none"])
    names = {name.removeprefix("verification/tiny/") for name in module.logged if name.startswith("verification/tiny")}
    assert {"accuracy", "accuracy@none", "auc", "auc@none"} <= names
    assert not any("@sum" in name or "@concat" in name for name in names)


def test_test_leaves_its_figures_in_a_file(score: Callable[..., Verification], tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoints" / "step-00000040"
    checkpoint.mkdir(parents=True)
    score(state=SimpleNamespace(fn="test"), ckpt_path=str(checkpoint / "dense.ckpt"))
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["checkpoint"], result["fusion"]) == ("step-00000040", "concat")
    assert set(result["verification"]) == {"tiny", "tiny@sum", "again", "again@sum"}
    assert result["verification"]["tiny"]["accuracy"] == 1.0


def test_other_ranks_log_what_rank_zero_scored_and_write_nothing(
    score: Callable[..., Verification], module: Any, tmp_path: Path
) -> None:
    score(is_global_zero=False, strategy=SimpleNamespace(broadcast=lambda _: {MONITORED: 0.75}))
    assert module.logged[MONITORED] == 0.75
    assert not list(tmp_path.iterdir())


def test_run_without_verification_sets_logs_nothing(trainer: Callable[..., Any], module: Any) -> None:
    callback, run = Verification(), trainer(datamodule=SimpleNamespace(verification={}))
    callback.on_validation_epoch_start(run, module)
    callback.on_validation_epoch_end(run, module)
    assert not module.logged


def test_set_without_pairs_is_refused_before_training(trainer: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"pairs\.csv"):
        Verification().read_pairs(trainer().datamodule)


def test_no_fusion_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"verification\.fusions must name at least one"):
        Verification([])
