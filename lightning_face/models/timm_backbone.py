"""Backbones of the timm library with a neck for faces; the only module that imports timm."""

from typing import Any, NamedTuple

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from lightning_face.errors import ConfigError
from lightning_face.models.backbone import USUAL_IMAGE_SIZES, Backbone, unknown_name_error
from lightning_face.models.neck import build_neck, resolve_neck


class _Unfit(Exception):
    """A network cannot be built for, or run on, images of a size; the message says why."""


class _Output(NamedTuple):
    map_shape: tuple[int, int, int]
    is_tokens: bool


class TimmBackbone(Backbone):
    """A timm network from scratch, without its classifier and pooling, and a neck after it.

    Args:
        name: name of a timm model, without a tag of pretrained weights.
        embedding_dim: length of a feature vector.
        image_size: side of the images in pixels; built into networks with position embeddings.
        in_channels: channels of the images.
        dropout: probability of dropping a value in the neck, in [0, 1).
        neck: see `build_neck`; `auto` chooses by the last map.

    Raises:
        ConfigError: the network cannot take images of this size, or gives neither a map nor tokens.
    """

    def __init__(
        self, name: str, *, embedding_dim: int, image_size: int, in_channels: int, dropout: float, neck: str
    ) -> None:
        super().__init__(embedding_dim=embedding_dim, image_size=image_size)
        output = _checked_output(name, image_size=image_size, in_channels=in_channels)
        self.trunk = _create(name, image_size=image_size, in_channels=in_channels)
        self.neck_kind = resolve_neck(neck, map_shape=output.map_shape, is_tokens=output.is_tokens)
        self.neck = build_neck(self.neck_kind, map_shape=output.map_shape, embedding_dim=embedding_dim, dropout=dropout)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        features_BD: Tensor = self.neck(_as_map(self.trunk, self.trunk(images_BCHW)))
        return features_BD


def check_timm_name(name: str, *, others: tuple[str, ...]) -> None:
    """Refuse a name that timm does not have, and one with a tag, which would promise pretrained weights.

    Args:
        name: what was asked for.
        others: names of backbones that are not timm's, to be suggested too.

    Raises:
        ConfigError: names the nearest models.
    """
    architecture, _, tag = name.partition(".")
    if tag and timm.is_model(architecture):
        raise ConfigError(f"backbone must not name pretrained weights, got {name!r}: use {architecture!r}")
    if not timm.is_model(name):
        raise unknown_name_error(name, own=others, timm=timm.list_models())


def _create(name: str, *, image_size: int, in_channels: int) -> nn.Module:
    # timm's mark of networks whose constructor takes img_size: those that build the size into their weights.
    config = get_pretrained_cfg(name)
    size_option: dict[str, Any] = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    trunk: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=0, global_pool="", in_chans=in_channels, **size_option
    )
    return trunk


def _as_map(trunk: nn.Module, output: Tensor) -> Tensor:
    """(B, C, H, W) from a map of either layout; (B, C, N, 1) from tokens, without class and register tokens.

    Those prefix tokens have no place in the image; the patches take their content in by attention.
    """
    if output.ndim == 3:
        num_prefix_tokens: int = getattr(trunk, "num_prefix_tokens", 0)
        return output[:, num_prefix_tokens:].transpose(1, 2).unsqueeze(3)
    return output.permute(0, 3, 1, 2) if getattr(trunk, "output_fmt", "NCHW") == "NHWC" else output


def _probe(name: str, *, image_size: int, in_channels: int) -> _Output:
    """What the network gives for one image; on the meta device, which takes no memory and draws no random numbers.

    Raises:
        _Unfit: the network refuses the size, or would drop pixels at the border, or gives something else.
    """
    try:
        with torch.device("meta"), torch.no_grad():
            trunk = _create(name, image_size=image_size, in_channels=in_channels).eval()
            output = trunk(torch.empty(1, in_channels, image_size, image_size))
    except Exception as error:  # each family fails in its own way: AssertionError, RuntimeError, IndexError ...
        reason = (str(error).splitlines() or [""])[0]
        raise _Unfit(f"{type(error).__name__}: {reason[:120]}") from error
    patch_size = getattr(getattr(trunk, "patch_embed", None), "patch_size", None)
    if isinstance(patch_size, tuple) and image_size % patch_size[0]:
        raise _Unfit(f"not a multiple of its patch size, {patch_size[0]}")
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        raise _Unfit("it gives neither a map nor tokens")
    _, num_channels, height, width = _as_map(trunk, output).shape
    if 0 in (num_channels, height, width):
        raise _Unfit("nothing is left of the image")
    return _Output((num_channels, height, width), is_tokens=output.ndim == 3)


def _checked_output(name: str, *, image_size: int, in_channels: int) -> _Output:
    """As `_probe`, but with an error for the user, which names the nearest sizes that work."""
    try:
        return _probe(name, image_size=image_size, in_channels=in_channels)
    except _Unfit as unfit:
        fitting = _nearest_fitting_sizes(name, image_size=image_size, in_channels=in_channels)
        if not fitting:
            raise ConfigError(f"backbone {name!r} cannot give face features ({unfit}): choose another") from unfit
        sizes = ", ".join(map(str, fitting))
        raise ConfigError(f"image_size must fit {name}, got {image_size} ({unfit}): use {sizes}") from unfit


def _nearest_fitting_sizes(name: str, *, image_size: int, in_channels: int, num_sizes: int = 3) -> list[int]:
    fitting: list[int] = []
    for size in sorted(USUAL_IMAGE_SIZES, key=lambda usual: abs(usual - image_size)):
        try:
            _probe(name, image_size=size, in_channels=in_channels)
        except _Unfit:
            continue
        fitting.append(size)
        if len(fitting) == num_sizes:  # a probe takes up to a second
            break
    return sorted(fitting)
