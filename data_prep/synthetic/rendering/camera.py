"""The scene behind the head, and what the camera makes of it: exposure, colour, blur and noise."""

import math

import numpy as np
from numpy.typing import NDArray

from data_prep.synthetic.rendering.canvas import (
    Image,
    blurred,
    enlarged,
    faded,
    lit,
    looked_up,
    noise_tile,
    noisy,
    smeared,
)
from data_prep.synthetic.rendering.traits import Nuisance
from lightning_face.hashing import Key, uniform

_LEVELS = np.linspace(0.0, 1.0, 256)[:, None]


def scene(when: Nuisance, size: int, *keys: Key) -> Image:
    """A background of soft patches of random colour, (size, size, 3) uint8."""
    cells = 2 + int(5 * when.scene)
    grid = uniform(*keys, "scene", np.arange(cells * cells * 3)).reshape(cells, cells, 3)
    grey = grid.mean(axis=2, keepdims=True)
    grid = grey + when.scene_color * (grid - grey)
    return enlarged((255.0 * grid).astype(np.uint8), size)


def _tone_table(when: Nuisance) -> NDArray[np.uint8]:
    """Exposure, colour cast and gamma for each level of each channel, (256, 3)."""
    gain = np.exp(when.log_exposure + np.array([when.cast_warm, when.cast_green, -when.cast_warm]))
    levels = np.minimum(_LEVELS * gain, 1.0) ** math.exp(when.log_gamma)
    return np.rint(255.0 * levels).astype(np.uint8)


def _motion_kernel(motion: float) -> NDArray[np.float32]:
    """A short line in one of four directions."""
    kernel = np.zeros((3, 3), dtype=np.float32)
    kernel[1, 1] = 1.0
    row, column = ((0, 0), (0, 1), (0, 2), (1, 0))[int(motion * 1000) % 4]
    kernel[row, column] = kernel[2 - row, 2 - column] = 1.0
    return kernel / 3.0


def photograph(image: Image, light: NDArray[np.float32], when: Nuisance, unit: float) -> Image:
    """The picture that the camera takes of a painted, lit scene.

    Args:
        image: (H, W, 3) uint8 colours of the surfaces.
        light: (H, W) float32 factors.
        when: the settings of the camera.
        unit: pixels of the crop per pixel of a 112 x 112 crop.

    Returns:
        (H, W, 3) uint8.
    """
    picture = blurred(looked_up(lit(image, light), _tone_table(when)), unit * (0.45 + when.blur))
    if when.motion < 0.1:
        picture = smeared(picture, _motion_kernel(when.motion))
    height, width, _ = picture.shape
    tile = noise_tile(height)
    top, left = int(when.noise_y * (len(tile) - height)), int(when.noise_x * (len(tile) - width))
    picture = noisy(picture, np.float32(when.noise) * tile[top : top + height, left : left + width])
    return faded(picture, max(when.saturation, 0.0)) if when.saturation < 1.0 else picture
