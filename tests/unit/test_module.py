"""What the module sets up before the first step, and which network it evaluates."""

from pathlib import Path

import torch

from lightning_face.data.datamodule import FaceDataModule
from lightning_face.models import BackboneConfig
from lightning_face.module import FaceModule
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


def test_an_average_is_evaluated_in_place_of_the_network() -> None:
    module = FaceModule(10, 32, BackboneConfig("test_convnext", embedding_dim=8, neck="linear"), average_decay=0.9)
    module.eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    before = module.validation_step((None, images), 0)
    assert torch.equal(before[:, 0], module.averaged(images)) and torch.equal(before[:, 1], module(images.flip(3)))
    for parameter in module.backbone.parameters():
        parameter.data.zero_()
    assert torch.equal(module.validation_step((None, images), 0), before)
    assert not module(images).any()
    assert not any(parameter.requires_grad for parameter in module.averaged.parameters())
