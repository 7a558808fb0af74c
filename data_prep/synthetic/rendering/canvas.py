"""The one door to OpenCV: anti-aliased shapes on a small RGB image, and the few filters that the camera needs."""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lightning_face.hashing import normal

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
Color = tuple[float, float, float]

_SHIFT = 4  # fixed-point bits of a coordinate: shapes land on sixteenths of a pixel
_NOISE_MARGIN = 64  # windows of the noise tile begin anywhere in it
_QUARTER_TURN = np.array([-1.0, 1.0])

cv2.setNumThreads(1)  # images are small and processes many: OpenCV's own threads only get in each other's way


def _fixed_point(points: Points) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _image(result: Any) -> Image:  # OpenCV's stubs promise an array of any kind
    return np.asarray(result, dtype=np.uint8)


def fill(image: Image, outline: Points, color: Color) -> None:
    """Paint a closed shape.

    Args:
        image: (H, W, 3) uint8, painted in place.
        outline: (N, 2) pixels.
        color: red, green, blue in [0, 255].
    """
    cv2.fillPoly(image, [_fixed_point(outline)], color, cv2.LINE_AA, _SHIFT)


def stroke(image: Image, path: Points, color: Color, closed: bool = False) -> None:
    """Draw a line one pixel wide along a path of (N, 2) pixels, in place."""
    cv2.polylines(image, [_fixed_point(path)], closed, color, 1, cv2.LINE_AA, _SHIFT)


def ribbon(path: Points, widths: NDArray[np.float64]) -> Points:
    """The outline of a stroke of varying width: far cheaper to fill than OpenCV's thick lines.

    Args:
        path: (N, 2) pixels.
        widths: (N,) half widths in pixels, or one for all.

    Returns:
        (2 N, 2) closed outline.
    """
    along = np.empty_like(path)
    along[1:-1] = path[2:] - path[:-2]
    along[0], along[-1] = path[1] - path[0], path[-1] - path[-2]
    lengths = np.hypot(along[:, 0], along[:, 1]) + 1e-6
    offset = (widths / lengths)[:, None] * along[:, ::-1] * _QUARTER_TURN
    return np.concatenate([path + offset, (path - offset)[::-1]])


def blended(over: Image, under: Image, opacity: float) -> Image:
    """`opacity` of one image over another."""
    return _image(cv2.addWeighted(over, opacity, under, 1.0 - opacity, 0.0))


def enlarged(coarse: Image, size: int) -> Image:
    """A coarse grid (h, w, 3) smoothly stretched to (size, size, 3)."""
    # cubic to a quarter, then linear: looks the same and costs a fifth
    return _image(cv2.resize(cv2.resize(coarse, (size // 4, size // 4), interpolation=cv2.INTER_CUBIC), (size, size)))


def lit(image: Image, light: NDArray[np.float32]) -> Image:
    """Every pixel times its (H, W) factor, saturated at 255."""
    return _image(cv2.multiply(image, cv2.merge([light, light, light]), dtype=cv2.CV_8U))


def noisy(image: Image, noise: NDArray[np.float32]) -> Image:
    """Plus noise of the same shape, saturated at 0 and 255."""
    return _image(cv2.add(image, noise, dtype=cv2.CV_8U))


def faded(image: Image, saturation: float) -> Image:
    """Colours between grey (0) and what they are (1)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return blended(image, _image(cv2.merge([grey, grey, grey])), saturation)


def blurred(image: Image, sigma: float) -> Image:
    """Out of focus by a Gaussian of `sigma` pixels."""
    return _image(cv2.GaussianBlur(image, (0, 0), sigma))


def smeared(image: Image, kernel: NDArray[np.float32]) -> Image:
    """Correlated with a small kernel that sums to one: motion blur."""
    return _image(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT))


def looked_up(image: Image, table: NDArray[np.uint8]) -> Image:
    """Each channel through its column of a (256, 3) table."""
    return _image(cv2.LUT(image, table[None]))


@cache
def noise_tile(size: int) -> NDArray[np.float32]:
    """Standard normal noise, (size + 64, size + 64, 3): the same for all images, which cut windows out of it."""
    side = size + _NOISE_MARGIN
    return normal("noise", np.arange(side * side * 3)).astype(np.float32).reshape(side, side, 3)
