"""Necks: what `auto` chooses, shapes, and the end without batch statistics."""

import pytest
import torch
from torch import nn

from lightning_face.errors import ConfigError
from lightning_face.models.neck import build_neck, check_neck, resolve_neck


@pytest.mark.parametrize(
    ("map_shape", "is_tokens", "expected"),
    [
        ((512, 2, 2), False, "flatten"),
        ((512, 7, 7), False, "flatten"),
        ((512, 8, 7), False, "pool"),
        ((384, 4, 1), True, "pool"),
    ],
)
def test_auto(map_shape: tuple[int, int, int], is_tokens: bool, expected: str) -> None:
    assert resolve_neck("auto", map_shape=map_shape, is_tokens=is_tokens) == expected


@pytest.mark.parametrize("neck", ["flatten", "pool", "linear"])
def test_a_named_neck_stays(neck: str) -> None:
    assert resolve_neck(neck, map_shape=(8, 99, 99), is_tokens=True) == neck


@pytest.mark.parametrize("neck", ["flatten", "pool", "linear"])
def test_shape_and_gradient(neck: str) -> None:
    module = build_neck(neck, map_shape=(6, 3, 2), embedding_dim=5, dropout=0.1)
    map_BCHW = torch.randn(4, 6, 3, 2, requires_grad=True)
    features_BD = module(map_BCHW)
    features_BD.square().sum().backward()
    assert features_BD.shape == (4, 5)
    assert map_BCHW.grad is not None
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(("neck", "num_norms"), [("flatten", 2), ("pool", 1), ("linear", 0)])
def test_batch_norms(neck: str, num_norms: int) -> None:
    module = build_neck(neck, map_shape=(6, 3, 2), embedding_dim=5, dropout=0.0)
    norms = [child for child in module if isinstance(child, nn.BatchNorm2d | nn.BatchNorm1d)]
    assert len(norms) == num_norms
    if norms:
        assert not norms[-1].weight.requires_grad
        assert norms[-1].bias.requires_grad


def test_flatten_keeps_places_that_pool_loses() -> None:
    torch.manual_seed(0)
    map_BCHW = torch.randn(2, 3, 4, 4)
    turned = map_BCHW.flip(3)
    pool = build_neck("linear", map_shape=(3, 4, 4), embedding_dim=5, dropout=0.0)
    flatten = build_neck("flatten", map_shape=(3, 4, 4), embedding_dim=5, dropout=0.0).eval()
    torch.testing.assert_close(pool(map_BCHW), pool(turned))
    assert not torch.allclose(flatten(map_BCHW), flatten(turned), atol=1e-3)


def test_unknown_neck() -> None:
    with pytest.raises(ConfigError, match="neck must be one of auto, flatten, pool, linear, got 'gap'"):
        check_neck("gap")
