"""Networks of the recipes: as many parameters as published, layer by layer, and initial weights."""

import pytest
import torch
from torch import nn

from lightning_face.errors import ConfigError
from lightning_face.models import Backbone, build_backbone


def meta_backbone(name: str, *, image_size: int, embedding_dim: int = 512, in_channels: int = 3) -> Backbone:
    with torch.device("meta"):
        return build_backbone(name, embedding_dim=embedding_dim, image_size=image_size, in_channels=in_channels)


def count(backbone: Backbone) -> int:
    return sum(parameter.numel() for parameter in backbone.parameters())


def test_inception_resnet_v1_has_the_published_number_of_parameters() -> None:
    # facenet-pytorch's InceptionResnetV1 without a classifier: torchinfo's 23,482,624, which many repeat.
    assert count(meta_backbone("inception_resnet_v1", image_size=160)) == 23_482_624
    # facenet's model of 128 dimensions in Keras: 22,779,312 that are trained, its batch norms having no scale.
    backbone = meta_backbone("inception_resnet_v1", image_size=160, embedding_dim=128)
    scales = [m.weight.numel() for m in backbone.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert count(backbone) - sum(scales) == 22_779_312


def test_inception_resnet_v1_has_facenet_pytorchs_keys() -> None:
    keys = meta_backbone("inception_resnet_v1", image_size=160).state_dict().keys()
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    # Of each kind of block the keys that pin its names; the number of all follows from the layers.
    for conv in (
        "conv2d_4b",
        "repeat_1.4.branch2.2",
        "repeat_2.9.branch1.1",
        "mixed_6a.branch1.2",
        "mixed_7a.branch0.1",
    ):
        assert {f"{conv}.conv.weight", *(f"{conv}.bn.{name}" for name in norm)} <= keys
    assert {"repeat_3.4.conv2d.bias", "block8.conv2d.weight", "last_linear.weight", "last_bn.running_mean"} <= keys
    # 132 convolutions: 111 with a batch norm of 5, and 21 with a bias; the linear layer, and its batch norm.
    assert len(keys) == 111 * 6 + 21 * 2 + 1 + 5


def conv(inputs: int, outputs: int, kernel: int, *, bias: bool) -> int:
    """Parameters of a convolution and its PReLU."""
    return inputs * outputs * kernel**2 + outputs * (1 + bias)


def stages(first: int, units: tuple[int, ...]) -> int:
    total = 0
    for before, channels, repeats in zip((first, 64, 128, 256), (64, 128, 256, 512), units, strict=True):
        total += conv(before, channels, 3, bias=True) + 2 * repeats * conv(channels, channels, 3, bias=False)
    return total


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sphereface20", stages(3, (1, 2, 4, 1)) + (512 * 7 * 6 + 1) * 512),
        ("sphereface64", stages(3, (3, 8, 16, 3)) + (512 * 7 * 6 + 1) * 512),
        ("face_resnet27", conv(3, 32, 3, bias=True) + stages(32, (1, 2, 5, 3)) + (512 * 5 * 4 + 1) * 512),
    ],
)
def test_caffes_networks_layer_by_layer(name: str, expected: int) -> None:
    backbone = meta_backbone(name, image_size=112)
    assert count(backbone) == expected
    num_convolutions = sum(isinstance(module, nn.Conv2d) for module in backbone.modules())
    assert str(num_convolutions) in name


def test_lenets_plus_plus_layer_by_layer() -> None:
    def pair(inputs: int, outputs: int) -> int:
        return conv(inputs, outputs, 5, bias=True) + conv(outputs, outputs, 5, bias=True)

    features = (128 * 3 * 3 + 1) * 2 + 2
    backbone = meta_backbone("lenets_plus_plus", image_size=28, embedding_dim=2, in_channels=1)
    assert count(backbone) == pair(1, 32) + pair(32, 64) + pair(64, 128) + features


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        ("inception_resnet_v1", 75),
        ("inception_resnet_v1", 112),
        ("sphereface20", 16),
        ("sphereface20", 113),
        ("face_resnet27", 40),
        ("face_resnet27", 112),
        ("lenets_plus_plus", 12),
        ("lenets_plus_plus", 13),
        ("lenets_plus_plus", 28),
        ("lenets_plus_plus", 112),
    ],
)
def test_any_image_size_and_number_of_channels(name: str, image_size: int) -> None:
    backbone = meta_backbone(name, image_size=image_size, embedding_dim=8, in_channels=1).eval()
    features = backbone(torch.empty(2, 1, image_size, image_size, device="meta"))
    assert features.shape == (2, 8)


@pytest.mark.parametrize("name", ["sphereface20", "face_resnet27"])
def test_caffes_networks_see_the_middle_columns(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_dim=4, image_size=42).eval()
    images = torch.randn(1, 3, 42, 42, requires_grad=True)
    backbone(images).sum().backward()
    assert images.grad is not None
    seen = images.grad.abs().sum(dim=(0, 1, 2)) > 0
    assert seen.tolist() == [3 <= column < 39 for column in range(42)]


def test_initial_weights() -> None:
    torch.manual_seed(0)
    plain = build_backbone("sphereface20", embedding_dim=4, image_size=16)
    units = [m for m in plain.modules() if isinstance(m, nn.Conv2d) and m.bias is None]
    widening = [m for m in plain.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert len(units) == 16 and len(widening) == 4
    assert all(module.weight.std().item() == pytest.approx(0.01, rel=0.05) for module in units)
    for module in widening:
        fan_in = module.in_channels * 9
        assert module.weight.abs().max().item() == pytest.approx((3 / fan_in) ** 0.5, rel=0.01)
    inception = build_backbone("inception_resnet_v1", embedding_dim=4, image_size=75)
    convs = [module.weight.detach() for module in inception.modules() if isinstance(module, nn.Conv2d)]
    assert max(float(weight.abs().max()) for weight in convs) <= 0.2
    # A normal distribution cut off at two deviations has 0.88 of the deviation.
    assert torch.cat([weight.flatten() for weight in convs]).std().item() == pytest.approx(0.088, rel=0.01)


@pytest.mark.parametrize(
    ("name", "image_size", "advice"),
    [
        ("inception_resnet_v1", 74, "at least 75 for inception_resnet_v1, got 74: use 96, 112 or 160"),
        ("sphereface64", 15, "at least 16 for sphereface64, got 15: use 64, 96 or 112"),
        ("face_resnet27", 39, "at least 40 for face_resnet27"),
        ("lenets_plus_plus", 11, "at least 12 for lenets_plus_plus"),
    ],
)
def test_image_too_small(name: str, image_size: int, advice: str) -> None:
    with pytest.raises(ConfigError, match=f"image_size must be {advice}"):
        meta_backbone(name, image_size=image_size)
