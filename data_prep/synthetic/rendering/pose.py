"""From the head at rest to the crop: turn it, align five landmarks to the template of ArcFace, jitter the crop."""

import math

import numpy as np
from numpy.typing import NDArray

from data_prep.synthetic.rendering.head import Shapes
from data_prep.synthetic.rendering.traits import Identity, Nuisance

REST_SIZE = 112
"""Side of the crop whose pixels measure everything."""

_TEMPLATE = np.array([38.29 + 51.70j, 73.53 + 51.50j, 56.03 + 71.74j, 41.55 + 92.37j, 70.73 + 92.20j])
"""Eyes, tip of the nose and corners of the mouth in a 112 x 112 crop, x + iy. Source: insightface `face_align.py`."""

_ZOOM = 0.88  # a little smaller than ArcFace's crop, so that chin and hair are seen
_MIDDLE = 56.0 + 58.0j


def depth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) z of (N, 3) points whose third number is their height above the curved front of the face."""
    x, y, height = points.T
    return height - 0.011 * x * x - 0.002 * (y - 15.0) ** 2


def rotation(yaw: float, pitch: float) -> NDArray[np.float64]:
    """(3, 2) matrix that turns points and drops their depth (an orthographic view)."""
    sin_y, cos_y, sin_p, cos_p = math.sin(yaw), math.cos(yaw), math.sin(pitch), math.cos(pitch)
    return np.array([[cos_y, sin_y * sin_p], [0.0, cos_p], [sin_y, -cos_y * sin_p]])


def landmarks(who: Identity, when: Nuisance) -> NDArray[np.float64]:
    """(5, 3) eyes, tip of the nose, corners of the mouth, at rest."""
    corner_x = who.mouth_width + 1.2 * when.smile
    corner_y = who.mouth_height + who.mouth_curve - 1.2 * when.smile
    eye = who.eye_distance
    return np.array(
        [[-eye, 0, -2], [eye, 0, -2], [0, who.nose_length, 10], [-corner_x, corner_y, 3], [corner_x, corner_y, 3]],
        dtype=float,
    )


def _similarity(points: NDArray[np.complex128], when: Nuisance, size: int) -> tuple[complex, complex]:
    """Least-squares turn with scale, and shift, of the landmarks to the jittered template of a crop of `size`."""
    centered = points - points.mean()
    template = _TEMPLATE - _TEMPLATE.mean()
    turn = complex(np.vdot(centered, template) / np.vdot(centered, centered).real)
    middle = _MIDDLE + _ZOOM * (_TEMPLATE.mean() - _MIDDLE) + complex(when.shift_x, when.shift_y)
    turn *= _ZOOM * math.exp(when.log_scale) * complex(math.cos(when.roll), math.sin(when.roll))
    unit = size / REST_SIZE
    return turn * unit, (middle - turn * points.mean()) * unit


def posed(shapes: Shapes, who: Identity, when: Nuisance, size: int) -> Shapes:
    """All shapes as the camera sees them: (N, 2) pixels of the crop for each (N, 3) outline."""
    view = rotation(when.yaw, when.pitch)
    points = np.concatenate([landmarks(who, when), *shapes.values()])
    points[:, 2] = depth(points)
    plane = (points @ view).view(np.complex128)[:, 0]
    turn, shift = _similarity(plane[:5], when, size)
    pixels = (turn * plane + shift).view(np.float64).reshape(-1, 2)
    ends = np.cumsum([5, *map(len, shapes.values())])
    return {name: pixels[start:end] for name, start, end in zip(shapes, ends[:-1], ends[1:], strict=True)}
