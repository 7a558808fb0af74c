"""What the module sets up before the first step."""

from pathlib import Path

import torch

from lightning_face.data.datamodule import FaceDataModule
from lightning_face.module import BackboneConfig, FaceModule
from lightning_face.trainer import FaceTrainer


def test_products_of_the_head_are_float32_where_the_surroundings_preset_less(tiny_dataset: Path, tmp_path: Path):
    data = FaceDataModule(str(tiny_dataset), global_batch_size=24, image_size=32, num_workers=0, lanes=8)
    module = FaceModule(data.num_classes, 32, BackboneConfig(name="test_resnet", embedding_dim=8))
    trainer = FaceTrainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.set_float32_matmul_precision("high")
    trainer.fit(module, data)
    assert torch.get_float32_matmul_precision() == "highest"
