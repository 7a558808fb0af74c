"""What low quality does to a face, for whole batches: parts of it missing, few pixels."""

import math

import torch
from torch import Tensor

BLACK, WHITE = -127.5 / 128.0, 127.5 / 128.0
"""Of normalised images."""

LARGEST_ASPECT = 4 / 3
"""Of a crop's width to its height, and the other way."""

NEAREST, LINEAR, AREA, CUBIC, LANCZOS = range(5)
NUM_INTERPOLATIONS = 5

# Shapes: B images of H x W pixels; K uniform numbers each. Matrices I x J: pixels after by pixels before.


def crop(images_BCHW: Tensor, draws_BK: Tensor, probability: float, least_area: float) -> Tensor:
    """Blacken all outside of a random rectangle of some images; what is inside stays where it is.

    Args:
        images_BCHW: float32, normalised.
        draws_BK: uniform numbers in [0, 1], K = 5: whether, area, aspect, place in x and in y.
        probability: of an image.
        least_area: of the rectangle, as a share of the image's; its aspect is in [3/4, 4/3], on a logarithmic scale,
            but sides are cut to the image's.

    Source: AdaFace (Kim et al., CVPR 2022), its code's dataset/augmenter.py, which draws again instead of cutting.
    """
    height, width = images_BCHW.shape[2:]
    area_B = least_area + (1.0 - least_area) * draws_BK[:, 1]
    aspect_B = torch.exp((2.0 * draws_BK[:, 2] - 1.0) * math.log(LARGEST_ASPECT))
    columns_BW = _stretch(width, torch.sqrt(area_B * aspect_B), draws_BK[:, 3])
    rows_BH = _stretch(height, torch.sqrt(area_B / aspect_B), draws_BK[:, 4])
    is_kept_BHW = (rows_BH[:, :, None] & columns_BW[:, None]) | (draws_BK[:, 0] >= probability)[:, None, None]
    return torch.where(is_kept_BHW[:, None], images_BCHW, BLACK)


def _stretch(size: int, shares_B: Tensor, places_B: Tensor) -> Tensor:
    """Which pixels of a side lie in a stretch of a share of it; the place says where, among all that there are."""
    lengths_B = (shares_B * size).round().clamp(1, size)
    starts_B = torch.minimum((places_B * (size - lengths_B + 1)).floor(), size - lengths_B)
    pixels = torch.arange(size, device=shares_B.device)
    return (pixels >= starts_B[:, None]) & (pixels < (starts_B + lengths_B)[:, None])


def lower_resolution(images_BCHW: Tensor, draws_BK: Tensor, probability: float, least_side: float) -> Tensor:
    """Shrink some images and enlarge them again, each by an interpolation of its own.

    Interpolations are OpenCV's: nearest, linear, area, cubic and Lanczos; but where cubic and Lanczos reach over the
    border, weights within are scaled to a sum of one instead of repeating the border.

    Args:
        images_BCHW: float32, normalised, square.
        draws_BK: uniform numbers in [0, 1], K = 4: whether, side, how it is shrunk, how it is enlarged.
        probability: of an image.
        least_side: of the shrunk image, as a share of the image's.

    Source: AdaFace (Kim et al., CVPR 2022), its code's dataset/augmenter.py.
    """
    size = images_BCHW.shape[-1]
    (chosen,) = torch.nonzero(draws_BK[:, 0] < probability, as_tuple=True)
    draws = draws_BK[chosen]
    sides = ((least_side + (1.0 - least_side) * draws[:, 1]) * size).floor().clamp(1, size)
    kinds = (draws[:, 2:] * NUM_INTERPOLATIONS).long().clamp(max=NUM_INTERPOLATIONS - 1)
    shrink = resampling(kinds[:, 0], torch.full_like(sides, size), sides, size)
    enlarge = resampling(kinds[:, 1], sides, torch.full_like(sides, size), size)
    both = (enlarge @ shrink)[:, None]
    changed = (both @ images_BCHW[chosen] @ both.mT).clamp(BLACK, WHITE)
    return images_BCHW.index_copy(0, chosen, changed)


def resampling(kinds_B: Tensor, before_B: Tensor, after_B: Tensor, size: int) -> Tensor:
    """Matrices (B, size, size) that turn the first `before` pixels of a line into the first `after`; zeros elsewhere.

    Args:
        kinds_B: int64 numbers of interpolations.
        before_B: whole numbers of pixels up to `size`, float32.
        after_B: whole numbers of pixels up to `size`, float32.
        size: of the matrices.
    """
    before, after = before_B[:, None, None], after_B[:, None, None]
    pixels = torch.arange(size, device=before_B.device, dtype=before_B.dtype)
    i, j = pixels[:, None], pixels
    # Products of whole numbers are exact, so that quotients which are whole numbers are too.
    start, end, middle = i * before / after, (i + 1) * before / after, (2 * i + 1) * before / (2 * after) - 0.5
    weights = _weights(start, end, (middle - j).abs(), j)
    chosen = weights.gather(0, kinds_B[None, :, None, None].expand(1, -1, size, size))[0]
    chosen = chosen * ((i < after) & (j < before))
    return chosen / torch.where(i < after, chosen.sum(2, keepdim=True), 1.0)


def _weights(start: Tensor, end: Tensor, distance: Tensor, j: Tensor) -> Tensor:
    """Of pixels j for one that begins and ends there and has its middle at a distance, by each interpolation."""
    nearest = (start.floor() == j).to(distance.dtype)
    linear = (1.0 - distance).clamp(min=0.0)
    area = (torch.minimum(end, j + 1) - torch.maximum(start, j)).clamp(min=0.0)
    near = (1.25 * distance - 2.25) * distance.square() + 1.0
    far = ((-0.75 * distance + 3.75) * distance - 6.0) * distance + 3.0
    cubic = torch.where(distance < 1.0, near, torch.where(distance < 2.0, far, 0.0))
    lanczos = torch.where(distance < 4.0, torch.sinc(distance) * torch.sinc(distance / 4.0), 0.0)
    return torch.stack([nearest, linear, area, cubic, lanczos])
