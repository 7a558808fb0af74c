"""IResNet: sizes, shapes and names as insightface has them."""

import pytest
import torch
from torch import nn

from lightning_face.errors import ConfigError
from lightning_face.models import Backbone, build_backbone

STAGES = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}
PUBLISHED_MILLIONS = {"iresnet18": 24.03, "iresnet34": 34.14, "iresnet50": 43.59, "iresnet100": 65.16}
NORM_KEYS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def count_by_hand(blocks_per_stage: tuple[int, ...], *, embedding_dim: int, map_side: int) -> int:
    """Parameters layer by layer: a batch norm has 2 a channel, a PReLU 1, a convolution no bias."""
    total = 3 * 64 * 9 + 2 * 64 + 64
    inputs = 64
    for outputs, blocks in zip((64, 128, 256, 512), blocks_per_stage, strict=True):
        total += inputs * outputs + 2 * outputs  # shortcut of the first block
        for _ in range(blocks):
            total += 2 * inputs + 9 * inputs * outputs + 2 * outputs + outputs + 9 * outputs * outputs + 2 * outputs
            inputs = outputs
    return total + 2 * 512 + (512 * map_side**2 + 1) * embedding_dim + 2 * embedding_dim


def meta_backbone(name: str, *, image_size: int = 112, embedding_dim: int = 512) -> Backbone:
    with torch.device("meta"):
        return build_backbone(name, embedding_dim=embedding_dim, image_size=image_size)


def expected_keys(blocks_per_stage: tuple[int, ...]) -> set[str]:
    """The keys of insightface's state_dict."""

    def norm(name: str) -> list[str]:
        return [f"{name}.{key}" for key in NORM_KEYS]

    keys = ["conv1.weight", *norm("bn1"), "prelu.weight", *norm("bn2"), "fc.weight", "fc.bias", *norm("features")]
    for stage, blocks in enumerate(blocks_per_stage, start=1):
        keys += [f"layer{stage}.0.downsample.0.weight", *norm(f"layer{stage}.0.downsample.1")]
        for block in (f"layer{stage}.{i}" for i in range(blocks)):
            keys += [f"{block}.conv1.weight", f"{block}.conv2.weight", f"{block}.prelu.weight"]
            keys += [*norm(f"{block}.bn1"), *norm(f"{block}.bn2"), *norm(f"{block}.bn3")]
    return set(keys)


@pytest.mark.parametrize("name", STAGES)
def test_parameters_are_as_published(name: str) -> None:
    count = sum(parameter.numel() for parameter in meta_backbone(name).parameters())
    assert count == count_by_hand(STAGES[name], embedding_dim=512, map_side=7)
    assert round(count / 1e6, 2) == PUBLISHED_MILLIONS[name]


def test_parameters_at_64_pixels() -> None:
    count = sum(parameter.numel() for parameter in meta_backbone("iresnet18", image_size=64).parameters())
    assert count == count_by_hand(STAGES["iresnet18"], embedding_dim=512, map_side=4)


@pytest.mark.parametrize("name", STAGES)
def test_state_dict_has_insightfaces_keys(name: str) -> None:
    assert set(meta_backbone(name).state_dict()) == expected_keys(STAGES[name])


@pytest.mark.parametrize("image_size", [16, 50, 64, 128, 224])
def test_any_image_size(image_size: int) -> None:
    backbone = meta_backbone("iresnet18", image_size=image_size, embedding_dim=32)
    features = backbone(torch.empty(2, 3, image_size, image_size, device="meta"))
    assert features.shape == (2, 32)
    assert (backbone.embedding_dim, backbone.image_size) == (32, image_size)


def test_channels_last_gives_the_same() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("iresnet18", embedding_dim=16, image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = backbone(images)
        backbone.to(memory_format=torch.channels_last)
        actual = backbone(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_initial_weights() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("iresnet18", embedding_dim=16, image_size=32)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.1, rel=0.1)
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.bias, torch.zeros_like(module.bias))


def test_only_the_last_scale_is_frozen() -> None:
    frozen = [name for name, parameter in meta_backbone("iresnet50").named_parameters() if not parameter.requires_grad]
    assert frozen == ["features.weight"]


def test_every_trained_parameter_gets_a_gradient() -> None:
    backbone = build_backbone("iresnet18", embedding_dim=16, image_size=32, dropout=0.4)
    backbone(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_image_too_small() -> None:
    with pytest.raises(ConfigError, match="image_size must be at least 16 for iresnet50, got 8: use 64, 96 or 112"):
        meta_backbone("iresnet50", image_size=8)
