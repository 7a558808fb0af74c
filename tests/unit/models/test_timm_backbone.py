"""timm networks: every layout of output, sizes, names and the end without batch statistics."""

import pytest
import timm
import torch
from torch import nn

from lightning_face.errors import ConfigError
from lightning_face.models import build_backbone
from lightning_face.models.timm_backbone import TimmBackbone, _as_map


@pytest.mark.parametrize(
    ("name", "image_size", "neck"),
    [
        ("resnet10t", 64, "flatten"),  # 2x2 map
        ("test_vit", 32, "pool"),  # tokens with a class token
        ("test_vit", 112, "pool"),
        ("test_convnext", 64, "flatten"),
        ("mobilenetv3_small_100", 112, "flatten"),
        ("test_mambaout", 64, "flatten"),  # channels come last
        ("test_efficientnet", 320, "pool"),  # map larger than 7x7
    ],
)
def test_features(name: str, image_size: int, neck: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_dim=24, image_size=image_size)
        features = backbone(torch.empty(2, 3, image_size, image_size))
    assert isinstance(backbone, TimmBackbone)
    assert features.shape == (2, 24)
    assert backbone.neck_kind == neck
    assert (backbone.embedding_dim, backbone.image_size) == (24, image_size)


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "test_convnext", "test_efficientnet"])
def test_every_trained_parameter_gets_a_gradient(name: str) -> None:
    """DDP fails on parameters without one."""
    backbone = build_backbone(name, embedding_dim=8, image_size=32, dropout=0.1)
    backbone(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [key for key, p in backbone.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_linear_neck_is_free_of_batch_statistics(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_dim=16, image_size=64, neck="linear").train()
    images = torch.randn(4, 3, 64, 64)
    together = backbone(images)
    alone = torch.cat([backbone(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.modules.batchnorm._NormBase) for module in backbone.modules())


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext"])
def test_channels_last_gives_the_same(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, embedding_dim=16, image_size=64).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
        backbone.to(memory_format=torch.channels_last)
        actual = backbone(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    first = timm.create_model("test_convnext", pretrained=False, num_classes=0, global_pool="").state_dict()
    torch.manual_seed(7)
    second = build_backbone("test_convnext", embedding_dim=8, image_size=32).state_dict()
    assert all(torch.equal(value, second[f"trunk.{key}"]) for key, value in first.items())


def test_layouts_become_one() -> None:
    class Trunk(nn.Module):
        output_fmt = "NHWC"
        num_prefix_tokens = 1

    tokens_BNC = torch.arange(30.0).view(2, 5, 3)
    map_BCN1 = _as_map(Trunk(), tokens_BNC)
    assert map_BCN1.shape == (2, 3, 4, 1)
    assert torch.equal(map_BCN1[1, :, 0, 0], tokens_BNC[1, 1])
    map_BHWC = torch.arange(120.0).view(2, 4, 5, 3)
    assert torch.equal(_as_map(Trunk(), map_BHWC)[1, :, 2, 3], map_BHWC[1, 2, 3])
    map_BCHW = torch.randn(2, 3, 4, 5)
    assert _as_map(nn.Identity(), map_BCHW) is map_BCHW


def test_flatten_takes_tokens_when_asked() -> None:
    backbone = build_backbone("test_vit", embedding_dim=8, image_size=32, neck="flatten")
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, 8)


def test_size_that_would_drop_pixels_is_refused() -> None:
    rule = r"image_size must fit test_vit_relpos, got 100 \(not a multiple .* size, 16\): use 80, 96, 112"
    with pytest.raises(ConfigError, match=rule):
        build_backbone("test_vit_relpos", embedding_dim=8, image_size=100)


def test_size_that_windows_do_not_fit_is_refused_in_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"image_size must fit test_maxvit, got 112 .*window.*use 64, 96, 128"
    ) as caught:
        build_backbone("test_maxvit", embedding_dim=8, image_size=112)
    assert "\n" not in str(caught.value)


def test_network_without_a_map_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'coat_lite_tiny' cannot give face features .*choose another"):
        build_backbone("coat_lite_tiny", embedding_dim=8, image_size=112)
