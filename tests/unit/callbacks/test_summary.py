"""The screen before the first step."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from lightning_face.callbacks.summary import Summary, summary_table
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.losses.heads import CosFace
from lightning_face.models import BackboneConfig
from lightning_face.module import FaceModule
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.trainer import FaceTrainer


@pytest.fixture
def run(tiny_dataset: Path, tmp_path: Path) -> tuple[FaceTrainer, FaceModule]:
    """A run that is about to start."""
    trainer = FaceTrainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        accumulate_grad_batches=2,
    )
    data = FaceDataModule(str(tiny_dataset), {"lfw": str(tiny_dataset)}, global_batch_size=16, image_size=32)
    objective = ObjectiveConfig(SoftmaxConfig(head=CosFace(rarity_power=0.25)))
    module = FaceModule(data.num_classes, 32, BackboneConfig(name="test_resnet", embedding_dim=16), objective)
    trainer._data_connector.attach_data(module, datamodule=data)
    trainer.strategy.connect(module)
    module.trainer = trainer
    module.setup("fit")
    return trainer, module


def test_says_what_is_trained_on_what_and_how(run: tuple[FaceTrainer, FaceModule], tiny_dataset: Path) -> None:
    console = Console(file=io.StringIO(), width=250)
    console.print(summary_table(*run))
    text = console.file.getvalue()
    for part in (
        f"202 images, 20 identities, 3 shards in {tiny_dataset}",
        "lfw",
        "test_resnet",
        "1 x softmax with CosFace (mean) + 0.003 x center (mean)",
        "16 = 1 ranks x 8 x 2 micro-batches; 12 steps an epoch",
        "16 lanes, window 4096, seed 0",
        "step 0 (epoch 0, sample 0)",
        str(run[0].run_dir),
    ):
        assert part in text, part


def test_prints_on_rank_zero(run: tuple[FaceTrainer, FaceModule], capsys: pytest.CaptureFixture[str]) -> None:
    Summary().on_train_start(*run)
    assert "202 images" in capsys.readouterr().out
