"""JPEG bytes to one uint8 array for a whole batch. The only door to simplejpeg in the trainer."""

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lightning_face.data.manifest import MAX_PIXELS

COLORS = {1: "GRAY", 3: "RGB"}
"""What images are decoded as, by their number of channels; libjpeg turns one into the other."""


def stored_size(jpeg: bytes) -> int:
    """Longer side of an encoded image, pixels.

    Raises:
        ValueError: no JPEG, or one that claims more than `MAX_PIXELS`.
    """
    return max(_shape(jpeg))


def decode_into(image_HWC: NDArray[np.uint8], jpeg: bytes) -> None:
    """Decode a JPEG into a square of the batch; an image of another size is scaled to it.

    Args:
        image_HWC: the square, of as many channels as `COLORS` has names for.
        jpeg: in colours or grey.

    Raises:
        ValueError: no JPEG, one that claims more than `MAX_PIXELS`, or a damaged one: libjpeg would fill what is
            missing with grey.
    """
    colors = COLORS[image_HWC.shape[2]]
    try:
        decoded = simplejpeg.decode_jpeg(jpeg, colorspace=colors, strict=True, buffer=image_HWC)
    except ValueError:  # larger than the square, or damaged
        _shape(jpeg)  # refuses what would fill the memory
        decoded = simplejpeg.decode_jpeg(jpeg, colorspace=colors, strict=True)
    if decoded.shape != image_HWC.shape:
        image_HWC[:] = scaled(torch.from_numpy(decoded).permute(2, 0, 1), image_HWC.shape[0]).permute(1, 2, 0).numpy()


def _shape(jpeg: bytes) -> tuple[int, int]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    if height * width > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
    return height, width


def scaled(image_CHW: Tensor, size: int) -> Tensor:
    """An image of `size` x `size` pixels, uint8, on the same device; the same one if it has them."""
    if image_CHW.shape[1:] == (size, size):
        return image_CHW
    return F.interpolate(image_CHW[None], (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
