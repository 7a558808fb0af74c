"""Normalisation and augmentation of a whole batch on its device, decided by uniform numbers drawn per sample."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_face.data.low_quality import crop, lower_resolution
from lightning_face.errors import ConfigError

NUM_DRAWS = 18
"""Uniform numbers per sample: flip, rotation, scale, shift x, shift y, brightness, contrast, saturation; crop or not,
its area, aspect, place x, place y; low resolution or not, its side, how it is shrunk, how enlarged; recolour or not."""
_CROP, _LOW_RESOLUTION, _RECOLOUR = slice(8, 13), slice(13, 17), 17


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a training image; each drawn uniformly from a symmetric interval.

    AdaFace (Kim et al., CVPR 2022; its code's dataset/augmenter.py) has probabilities of 0.2 for crops, low resolution
    and colours, and 0.5 for contrast and saturation. It multiplies by a brightness of 0.5 to 1.5; here it is added, and
    0.25 does as much to middle grey.

    Args:
        flip: mirror half of the images.
        rotation_deg: largest rotation, degrees.
        scale: largest relative change of size.
        shift: largest shift in x and y, as a fraction of the image's side.
        crop_probability: that all outside of a random rectangle becomes black.
        crop_area: smallest area of the rectangle, as a fraction of the image's.
        low_resolution_probability: that the image is shrunk and enlarged again.
        low_resolution_side: smallest side of the shrunk image, as a fraction of the image's.
        recolour_probability: that brightness, contrast and saturation are changed.
        brightness: largest change, as a fraction of the full range.
        contrast: largest relative change.
        saturation: largest relative change.
    """

    flip: bool = True
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    crop_probability: float = 0.0
    crop_area: float = 0.2
    low_resolution_probability: float = 0.0
    low_resolution_side: float = 0.2
    recolour_probability: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rotation_deg", "scale", "shift", "brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise ConfigError(f"augment.{name} must not be negative, got {getattr(self, name)}")
        if self.scale >= 1:
            raise ConfigError(f"augment.scale must be below 1, got {self.scale}: an image would shrink to nothing")
        for name in ("crop_probability", "low_resolution_probability", "recolour_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("crop_area", "low_resolution_side"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} must be above 0 and at most 1, got {getattr(self, name)}")

    @property
    def moves_pixels(self) -> bool:
        """Whether images must be sampled anew."""
        return self.rotation_deg > 0 or self.scale > 0 or self.shift > 0


def normalise(images_BHWC: Tensor, image_size: int) -> Tensor:
    """Bytes to network input: (x - 127.5) / 128 (Wen et al., ECCV 2016, section 4.1), scaled to `image_size`.

    Args:
        images_BHWC: uint8 RGB or grey.

    Returns:
        (B, C, image_size, image_size) float32, channels last in memory.
    """
    images = images_BHWC.permute(0, 3, 1, 2).to(torch.float32)
    if images.shape[-1] != image_size:
        images = F.interpolate(images, (image_size, image_size), mode="bilinear", antialias=True, align_corners=False)
    return images.sub(127.5).div(128.0).contiguous(memory_format=torch.channels_last)


def augment(images_BCHW: Tensor, draws_BK: Tensor, config: AugmentConfig) -> Tensor:
    """Change normalised images as the draws say; the same draws give the same images on any rank.

    Args:
        images_BCHW: float32, normalised.
        draws_BK: uniform numbers in [0, 1), K = NUM_DRAWS.

    Returns:
        float32, channels last in memory.
    """
    signed_BK = draws_BK * 2.0 - 1.0
    mirror_B = torch.where(signed_BK[:, 0] < 0, -1.0, 1.0) if config.flip else torch.ones_like(signed_BK[:, 0])
    if config.moves_pixels:
        images_BCHW = _move(images_BCHW, signed_BK, mirror_B, config)
    elif config.flip:
        images_BCHW = torch.where((mirror_B < 0)[:, None, None, None], images_BCHW.flip(3), images_BCHW)
    if config.crop_probability > 0:
        images_BCHW = crop(images_BCHW, draws_BK[:, _CROP], config.crop_probability, config.crop_area)
    if config.low_resolution_probability > 0:
        probability, side = config.low_resolution_probability, config.low_resolution_side
        images_BCHW = lower_resolution(images_BCHW, draws_BK[:, _LOW_RESOLUTION], probability, side)
    if config.recolour_probability < 1:
        is_recoloured_B = draws_BK[:, _RECOLOUR] < config.recolour_probability
        signed_BK = signed_BK * is_recoloured_B[:, None]
    return _recolour(images_BCHW, signed_BK, config).contiguous(memory_format=torch.channels_last)


def _move(images_BCHW: Tensor, signed_BK: Tensor, mirror_B: Tensor, config: AugmentConfig) -> Tensor:
    angle = signed_BK[:, 1] * math.radians(config.rotation_deg)
    size = 1.0 + signed_BK[:, 2] * config.scale
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    shift_x, shift_y = signed_BK[:, 3] * 2.0 * config.shift, signed_BK[:, 4] * 2.0 * config.shift
    rows = (torch.stack([cos * mirror_B, -sin, shift_x], 1), torch.stack([sin * mirror_B, cos, shift_y], 1))
    grid = F.affine_grid(torch.stack(rows, 1), list(images_BCHW.shape), align_corners=False)
    return F.grid_sample(images_BCHW, grid, padding_mode="border", align_corners=False)


def _recolour(images_BCHW: Tensor, signed_BK: Tensor, config: AugmentConfig) -> Tensor:
    def factor(draw: int, strength: float) -> Tensor:
        return (1.0 + strength * signed_BK[:, draw])[:, None, None, None]

    if config.contrast > 0:
        mean = images_BCHW.mean(dim=(1, 2, 3), keepdim=True)
        images_BCHW = (images_BCHW - mean) * factor(6, config.contrast) + mean
    if config.saturation > 0:
        grey = images_BCHW.mean(dim=1, keepdim=True)
        images_BCHW = (images_BCHW - grey) * factor(7, config.saturation) + grey
    if config.brightness > 0:
        images_BCHW = images_BCHW + 2.0 * config.brightness * signed_BK[:, 5, None, None, None]
    return images_BCHW
