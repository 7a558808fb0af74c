"""What the figures draw, as numbers: thinned curves, running means, edges of histograms. Pure numpy.

Shapes: T thresholds, S logged steps.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_face.evaluation.roc import Roc

MAX_POINTS = 4000
"""Points of a drawn line: more than the pixels across any figure here."""


def roc_corners(roc: Roc) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FAR and the highest TAR at it: all that a curve of steps shows.

    Long curves are thinned, half of the points evenly and half evenly in the logarithm of the count.

    Returns:
        Two float64 arrays of at most `MAX_POINTS` rising values in [0, 1]; the first FAR is 0, the last pair (1, 1).
    """
    last_T = np.flatnonzero(np.append(np.diff(roc.false_accepts_T) > 0, True))
    if len(last_T) > MAX_POINTS:
        evenly = np.linspace(0, len(last_T) - 1, MAX_POINTS // 2)
        by_decade = np.geomspace(1, len(last_T), MAX_POINTS // 2) - 1
        last_T = last_T[np.unique(np.concatenate([evenly, by_decade]).round().astype(np.int64))]
    return roc.far_T[last_T], roc.tar_T[last_T]


def thinned(length: int) -> NDArray[np.int64]:
    """Indices of at most `MAX_POINTS` elements spread evenly over `length`, first and last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, MAX_POINTS)).astype(np.int64))


def running_mean(values_S: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Mean over up to `reach` values before and after each, fewer at the ends; (S,) float64."""
    sums = np.concatenate([[0.0], np.cumsum(values_S)])
    index_S = np.arange(len(values_S))
    first_S, end_S = np.maximum(index_S - reach, 0), np.minimum(index_S + reach + 1, len(values_S))
    means_S: NDArray[np.float64] = (sums[end_S] - sums[first_S]) / (end_S - first_S)
    return means_S


def histogram_edges(groups: Sequence[NDArray[np.float64]], *also: float) -> NDArray[np.float64]:
    """Common edges of bins for several histograms, a little wider than their values and the points of `also`.

    The number of bins grows with the cube root of the smallest group (Rice's rule, half as fine again), from 12 to 80.
    """
    extremes = [float(end) for group in groups for end in (group.min(), group.max())] + list(also)
    low, high = min(extremes), max(extremes)
    pad = 0.03 * (high - low) or 0.01 * max(abs(high), 1.0)
    bins = int(np.clip(3.0 * min(len(group) for group in groups) ** (1 / 3), 12, 80))
    return np.linspace(low - pad, high + pad, bins + 1)
