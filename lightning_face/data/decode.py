"""JPEG bytes to one uint8 array for a whole batch. The only door to simplejpeg in the trainer."""

import simplejpeg
import torch
from torch import Tensor
from torch.nn import functional as F


def stored_size(jpeg: bytes) -> int:
    """Longer side of an encoded image, pixels.

    Raises:
        ValueError: no JPEG.
    """
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    return max(height, width)


def decode_face(jpeg: bytes, size: int) -> Tensor:
    """Decode one image to (size, size, 3) uint8 RGB; an image of another size is scaled to it.

    Raises:
        ValueError: no JPEG, or a damaged one: libjpeg would fill what is missing with grey.
    """
    image = torch.from_numpy(simplejpeg.decode_jpeg(jpeg, colorspace="RGB", strict=True))
    if image.shape[:2] == (size, size):
        return image
    planes = image.permute(2, 0, 1).unsqueeze(0)
    scaled = F.interpolate(planes, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return scaled[0].permute(1, 2, 0).contiguous()
