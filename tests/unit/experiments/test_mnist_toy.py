"""Distances of the toy's table, by hand."""

import numpy as np
import pytest

from experiments.mnist_toy import distances


def test_distances_by_hand() -> None:
    features = np.array([[0.0, 1.0], [0.0, -1.0], [3.0, 4.0], [3.0, 4.0], [0.0, 8.0]])
    intra, inter = distances(features, np.array([0, 0, 4, 4, 7]))
    assert intra == pytest.approx((1 + 1 + 0 + 0 + 0) / 5)
    assert inter == pytest.approx((5 + 8 + 5) / 3)
