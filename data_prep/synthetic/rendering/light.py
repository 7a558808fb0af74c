"""Light on the relief of a face: a tilted ellipsoid for the head, and bumps and hollows for its features.

Bumps are separable Gaussians, so that slopes of all of them over the whole image are one product of two thin matrices.
"""

import math

import numpy as np
from numpy.typing import NDArray

from data_prep.synthetic.rendering.curves import Points
from data_prep.synthetic.rendering.traits import Identity, Nuisance


def bumps(who: Identity) -> NDArray[np.float64]:
    """(K, 6): where the middle is at rest (x, y, height), spread across and down, and how high (negative: a hollow)."""
    bridge, relief, length = who.nose_bridge, who.nose_relief, who.nose_length
    rows = [
        (0.0, 0.45 * length, 5.0, bridge, 0.32 * length, 0.9 * relief),
        (0.0, length - 1.5, 9.0, who.nose_tip, 3.4, relief),
        (0.0, who.mouth_height - 4.5, 3.0, 1.6, 2.6, -0.7 * who.philtrum),
        (0.0, who.mouth_height + who.lower_lip + 2.5, 1.0, 0.6 * who.mouth_width, 2.2, -1.8),
        (0.0, who.chin_height - 7.0, 0.0, 7.0, 5.0, who.chin_bump),
        (0.0, -24.0, 0.0, 18.0, 9.0, 2.0),
    ]
    for side in (-1.0, 1.0):
        rows += [
            (side * 0.8 * who.nose_width, length - 1.0, 3.0, 2.2, 2.4, 0.5 * relief),
            (side * (who.eye_distance - 1.0), -2.0, -3.0, 7.5, 4.5, -who.eye_depth),
            (side * who.eye_distance, -who.brow_height - 1.0, 1.0, 8.5, 2.8, 0.5 * who.eye_depth + 0.4),
            (side * (who.eye_distance + 7.0), 17.0, -4.0, 7.0, 5.0, max(who.cheekbone, 0.0)),
        ]
    return np.array(rows)


def _skull_light(middle: Points, radii: Points, light: Points, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine between the light and an ellipsoid's surface, (size, size) in [0, 1]."""
    across = np.clip((pixels - float(middle[0])) / float(radii[0]), -0.94, 0.94)
    down = np.clip((pixels - float(middle[1])) / float(radii[1]), -0.94, 0.94)[:, None]
    facing = np.sqrt(np.maximum((1.0 - across**2) - down**2, 0.06))
    return np.maximum((float(light[0]) * across + float(light[1]) * down) + float(light[2]) * facing, 0.0)


def _relief_light(
    middles: Points, relief: Points, light: Points, unit: float, pixels: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the slopes of the bumps add to the cosine, (size, size)."""
    spread = relief[:, 3:5] * unit
    x = (pixels - middles[:, :1]) / spread[:, :1]
    y = (pixels - middles[:, 1:]) / spread[:, 1:]
    across, down = np.exp(-0.5 * x * x), np.exp(-0.5 * y * y)
    height = relief[:, 5:] * unit
    rise_x = across * x * (light[0] * height / spread[:, :1])
    rise_y = down * y * (light[1] * height / spread[:, 1:])
    return np.concatenate([down, rise_y]).astype(np.float32).T @ np.concatenate([rise_x, across]).astype(np.float32)


def light_map(
    relief: Points, middles: Points, head: Points, when: Nuisance, unit: float, size: int
) -> NDArray[np.float32]:
    """How bright each pixel's surface is lit.

    Args:
        relief: (K, 6) bumps at rest.
        middles: (K, 2) where the camera sees them, pixels.
        head: (N, 2) outline of the head, pixels.
        when: direction and strength of the light.
        unit: pixels of the crop per pixel of a 112 x 112 crop.
        size: side of the crop, pixels.

    Returns:
        (size, size) float32 factors around 1.
    """
    azimuth, elevation = when.light_azimuth, when.light_elevation
    light = np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
    )
    low, high = head.min(axis=0), head.max(axis=0)
    pixels = np.arange(size, dtype=np.float32)
    base = _skull_light(0.5 * (low + high), 0.62 * (high - low), light, pixels)
    slopes = _relief_light(middles, relief, light, unit, pixels)
    lit = when.ambient + when.diffuse * np.maximum(base + when.relief * slopes, 0.0)
    return np.asarray(lit, dtype=np.float32)
