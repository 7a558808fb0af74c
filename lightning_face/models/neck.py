"""Necks: from the last map of an image network to one feature vector.

A face crop is aligned, so the place of a value in the map means a part of the face: keeping it (`flatten`) beats
averaging it away (`pool`), as ArcFace's comparison of ends shows (arXiv 1801.07698v1, section 3.2). That costs C·H·W·D
weights, hence `auto`: flatten up to 7x7, which is what 112 pixels give at stride 16, and pool beyond and for tokens.
"""

from typing import Literal, get_args

from torch import Tensor, nn

from lightning_face.errors import ConfigError

NeckKind = Literal["auto", "flatten", "pool", "linear"]
LARGEST_FLATTENED_SIDE = 7


class FeatureBatchNorm(nn.BatchNorm1d):
    """Batch norm of features with its scale frozen at 1, as in insightface: the losses normalise features."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(embedding_dim)
        self.weight.requires_grad_(False)


def check_neck(neck: str) -> None:
    """Refuse a neck that does not exist.

    Raises:
        ConfigError: `neck` is none of `NeckKind`.
    """
    if neck not in get_args(NeckKind):
        raise ConfigError(f"neck must be one of {', '.join(get_args(NeckKind))}, got {neck!r}")


def resolve_neck(neck: str, *, map_shape: tuple[int, int, int], is_tokens: bool) -> str:
    """The neck that `auto` stands for; others stay as they are.

    Args:
        neck: one of `NeckKind`.
        map_shape: (C, H, W) of the last map; tokens count as (C, N, 1).
        is_tokens: the network gives tokens, not a map.
    """
    if neck != "auto":
        return neck
    fits = max(map_shape[1:]) <= LARGEST_FLATTENED_SIDE
    return "flatten" if fits and not is_tokens else "pool"


def build_neck(neck: str, *, map_shape: tuple[int, int, int], embedding_dim: int, dropout: float) -> nn.Sequential:
    """Layers from (B, C, H, W) maps to (B, D) features.

    Args:
        neck: `flatten` is BN, dropout, flatten, linear, BN (ArcFace's option E); `pool` is average pool, dropout,
            linear, BN; `linear` is average pool, dropout, linear, free of batch statistics, so that features of an
            image do not depend on what else is in the batch, nor on the number of ranks.
        map_shape: (C, H, W) of the maps.
        embedding_dim: D.
        dropout: probability of dropping a value before the linear layer, in [0, 1).

    Returns:
        A module whose output is (B, D) float.
    """
    num_channels, height, width = map_shape
    drop = nn.Dropout(dropout)
    if neck == "flatten":
        # No bias before a batch norm: its own shift replaces it.
        fc = nn.Linear(num_channels * height * width, embedding_dim, bias=False)
        return nn.Sequential(nn.BatchNorm2d(num_channels), drop, nn.Flatten(), fc, FeatureBatchNorm(embedding_dim))
    pool = GlobalAveragePool()
    if neck == "pool":
        fc = nn.Linear(num_channels, embedding_dim, bias=False)
        return nn.Sequential(pool, drop, fc, FeatureBatchNorm(embedding_dim))
    return nn.Sequential(pool, drop, nn.Linear(num_channels, embedding_dim))


class GlobalAveragePool(nn.Module):
    """Mean over the map."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        return map_BCHW.mean(dim=(2, 3))
