"""MobileFaceNet: the table of the paper."""

import pytest
import torch
from torch import nn

from lightning_face.errors import ConfigError
from lightning_face.models import build_backbone
from lightning_face.models.mobilefacenet import InvertedResidual

TABLE = [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]


def count_by_hand(embedding_dim: int, *, map_side: int = 7, folded: bool = False) -> int:
    """Parameters layer by layer; a batch norm has 2 a channel, or 1 once folded into the convolution before it."""
    norm = 1 if folded else 2
    total = 3 * 64 * 9 + (norm + 1) * 64 + 64 * 9 + (norm + 1) * 64
    inputs = 64
    for expansion, outputs, repeats, _ in TABLE:
        for _ in range(repeats):
            inner = expansion * inputs
            total += inputs * inner + (norm + 1) * inner + 9 * inner + (norm + 1) * inner + inner * outputs
            total += norm * outputs
            inputs = outputs
    total += inputs * 512 + (norm + 1) * 512 + map_side**2 * 512 + norm * 512
    return total + 512 * embedding_dim + norm * embedding_dim


@pytest.mark.parametrize(("embedding_dim", "image_size", "map_side"), [(128, 112, 7), (512, 112, 7), (128, 64, 4)])
def test_parameters(embedding_dim: int, image_size: int, map_side: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone("mobilefacenet", embedding_dim=embedding_dim, image_size=image_size)
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert count == count_by_hand(embedding_dim, map_side=map_side)


def test_published_size_is_that_of_the_deployed_network() -> None:
    """The paper's 0.99 million is reached with batch norms folded; with them a net in training has 1.003 million."""
    assert round(count_by_hand(128, folded=True) / 1e6, 2) == 0.99
    assert count_by_hand(128) == 1_003_136


def test_shortcuts_only_where_shapes_agree() -> None:
    backbone = build_backbone("mobilefacenet", embedding_dim=8, image_size=32)
    adds = [module.adds_input for module in backbone.modules() if isinstance(module, InvertedResidual)]
    assert adds == [False] + [True] * 4 + [False] + [True] * 6 + [False] + [True] * 2


@pytest.mark.parametrize("image_size", [16, 50, 64, 112, 160])
def test_any_image_size(image_size: int) -> None:
    backbone = build_backbone("mobilefacenet", embedding_dim=32, image_size=image_size, in_channels=1)
    assert backbone(torch.randn(2, 1, image_size, image_size)).shape == (2, 32)


def test_channels_last_gives_the_same() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("mobilefacenet", embedding_dim=16, image_size=64)
    images = torch.randn(4, 3, 64, 64)
    backbone(images)  # running statistics that fit the activations
    backbone.eval()
    with torch.no_grad():
        expected = backbone(images)
        backbone.to(memory_format=torch.channels_last)
        actual = backbone(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_every_parameter_gets_a_gradient_and_starts_finite() -> None:
    backbone = build_backbone("mobilefacenet", embedding_dim=16, image_size=32, dropout=0.2)
    features = backbone(torch.randn(4, 3, 32, 32))
    features.square().sum().backward()
    assert torch.isfinite(features).all()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    assert not any(isinstance(module, nn.ReLU) for module in backbone.modules())


def test_image_too_small() -> None:
    with pytest.raises(ConfigError, match="image_size must be at least 16 for mobilefacenet, got 15"):
        build_backbone("mobilefacenet", embedding_dim=8, image_size=15)
