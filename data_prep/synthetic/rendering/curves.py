"""Curves through a few control points, as constant matrices: a smooth outline costs one small product."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_SPANS = np.array([[-0.5, 1.5, -1.5, 0.5], [1.0, -2.5, 2.0, -0.5], [-0.5, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]])
"""Catmull and Rom's basis: rows are powers 3 to 0 of the position in a span, columns its four control points."""

CIRCLE = np.stack([np.cos(turn := np.linspace(0, 2 * np.pi, 20, endpoint=False)), np.sin(turn)], axis=1)
"""(20, 2) points of the unit circle."""

SWEEP = np.linspace(-1.0, 1.0, 13)
"""(13,) positions from one corner of an eye, brow or mouth to the other."""


@cache
def _spline(num_controls: int, per_span: int, closed: bool) -> Points:
    spans = num_controls if closed else num_controls - 1
    position = np.arange(per_span) / per_span
    weights = np.stack([position**3, position**2, position, np.ones(per_span)], axis=1) @ _SPANS
    matrix = np.zeros((spans * per_span, num_controls))
    for span in range(spans):
        for offset in range(4):
            control = span + offset - 1
            control = control % num_controls if closed else min(max(control, 0), num_controls - 1)
            matrix[span * per_span : (span + 1) * per_span, control] += weights[:, offset]
    return matrix


def smooth(controls: list[tuple[float, float, float]], per_span: int = 4, closed: bool = True) -> Points:
    """A Catmull-Rom curve through N control points (x, y, z): (M, 3) points, `per_span` to a span."""
    return _spline(len(controls), per_span, closed) @ np.array(controls)


def mirrored(half: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """A closed outline from its right half, whose first and last points lie on the middle line."""
    return half + [(-x, y, z) for x, y, z in half[-2:0:-1]]


def ellipse(x: float, y: float, z: float, half_width: float, half_height: float) -> Points:
    """(20, 3) points of an upright ellipse that faces the viewer."""
    points = np.full((len(CIRCLE), 3), (x, y, z))
    points[:, :2] += CIRCLE * (half_width, half_height)
    return points
