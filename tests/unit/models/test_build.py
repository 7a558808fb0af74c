"""`build_backbone`: names and options that cannot work."""

from typing import Any

import pytest

from lightning_face.errors import ConfigError
from lightning_face.models import build_backbone


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("iresnet5o", "iresnet50"),
        ("IResNet100", "iresnet100"),
        ("mobilfacenet", "mobilefacenet"),
        ("inception_resnet", "inception_resnet_v1"),
        ("resnet10", "resnet10t"),
        ("vit_smal_patch16_224", "vit_small_patch16_224"),
        ("hf_hub:someone/resnet50", "did you mean"),
        ("", "timm.list_models"),
    ],
)
def test_unknown_name_gives_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(ConfigError, match=r"backbone must be iresnet18, .*, lenets_plus_plus or a timm") as caught:
        build_backbone(name, embedding_dim=8, image_size=112)
    assert suggestion in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pretrained_tag_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"must not name pretrained weights, got 'resnet10t\.c3_in1k': use 'resnet10t'"
    ):
        build_backbone("resnet10t.c3_in1k", embedding_dim=8, image_size=64)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("embedding_dim", 0, "embedding_dim must be at least 1, got 0"),
        ("image_size", -1, "image_size must be at least 1, got -1"),
        ("in_channels", 0, "in_channels must be at least 1, got 0"),
        ("dropout", 1.0, r"dropout must be in \[0, 1\), got 1.0"),
        ("dropout", float("nan"), r"dropout must be in \[0, 1\), got nan"),
        ("neck", "gap", "neck must be one of auto, flatten, pool, linear, got 'gap'"),
        ("neck", "pool", "neck must be auto for iresnet18, which has its own, got 'pool'"),
    ],
)
def test_bad_option(option: str, value: object, rule: str) -> None:
    options: dict[str, Any] = {"embedding_dim": 8, "image_size": 112, option: value}
    with pytest.raises(ConfigError, match=rule):
        build_backbone("iresnet18", **options)
