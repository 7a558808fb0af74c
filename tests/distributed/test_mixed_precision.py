"""Promise P6 in bf16-mixed: what two ranks learn under any engine differs from one process by rounding alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_face.engines.choice import ENGINES
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.trainer import FaceTrainer
from tests.engine_runs import Run, fit, run_engines, torchrun, whole_tables
from tests.ranks import run_ranks

OBJECTIVE = ObjectiveConfig(
    SoftmaxConfig(init_std=0.1, placement="sharded"),
    CenterConfig(weight=0.1, init_std=0.1, placement="sharded"),
    MinimumMarginConfig(weight=0.01, margin=4.0),
)
ROUNDING = 0.15
"""Largest difference, over what training changed, of a tensor.

A bfloat16 keeps 8 bits. Gradients rounded on two ranks, not one, differ by some 2^-8, and more where they cancel, as
those of the first bias; from step to step the network multiplies that, to 0.02 to 0.05 here. One process differs from
itself by 0.92 (classifier) where the classifier learns at twice its rate, by 0.59 (centers) where they learn at half of
theirs.
"""


@pytest.fixture(scope="module")
def on_one_process(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = Run(OBJECTIVE, precision="bf16-mixed")
    (result,) = run_ranks(fit, 1, tiny_dataset, tmp_path_factory.mktemp("run"), run)
    return result


@pytest.fixture(scope="module")
def on_two_ranks(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    runs = {engine: Run(OBJECTIVE, engine, "bf16-mixed") for engine in ENGINES}
    return run_engines(tiny_dataset, tmp_path_factory.mktemp("run"), runs)


@pytest.mark.timeout(600)  # the first waits for the runs of all
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_learns_what_one_process_learns(
    engine: str, on_one_process: dict[str, Any], on_two_ranks: dict[str, list[dict[str, Any]]]
) -> None:
    results, start = on_two_ranks[engine], on_one_process["start"]
    for result in results:
        assert result["features"] == {torch.bfloat16}
        assert result["weights"] == {torch.float32}
        assert result["losses"] == pytest.approx(on_one_process["losses"], rel=2**-7)
        assert_learned_the_same(result["backbone"], on_one_process["backbone"], start["backbone"])
    assert_learned_the_same(whole_tables(results), on_one_process["tables"], start["tables"])


def assert_learned_the_same(actual: dict[str, Tensor], expected: dict[str, Tensor], start: dict[str, Tensor]) -> None:
    """Integers are equal."""
    for name, value in expected.items():
        difference = (actual[name] - value).double().norm()
        change = (value - start[name]).double().norm()
        limit = ROUNDING * change if value.is_floating_point() else 0
        assert difference <= limit, f"{name}: {float(difference / change):.3f} of the change"


class _Linear(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def predict_step(self, images: Tensor) -> Tensor:
        return self.linear(images)


def predicted(run_dir: Path) -> tuple[torch.dtype, torch.dtype]:
    """Of weights and features in an evaluation."""
    module = _Linear()
    with torchrun():
        trainer = FaceTrainer(
            accelerator="cpu",
            devices=1,
            strategy="deepspeed_stage_2",
            precision="bf16-mixed",
            plugins=[TorchElasticEnvironment()],
            default_root_dir=run_dir,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        (features,) = trainer.predict(module, DataLoader(torch.ones(3, 4), batch_size=3))
    return module.linear.weight.dtype, features.dtype


def test_deepspeed_evaluates_as_it_trains(tmp_path: Path) -> None:
    """Lightning hands DeepSpeed's own option on for training only."""
    assert run_ranks(predicted, 1, tmp_path, fresh=True) == [(torch.float32, torch.bfloat16)]
