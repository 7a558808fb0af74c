"""Distances of the toy's table, by hand."""

import pytest
import torch

from experiments.mnist_toy import distances


def test_distances_by_hand() -> None:
    features = torch.tensor([[0.0, 1.0], [0.0, -1.0], [3.0, 4.0], [3.0, 4.0], [0.0, 8.0]])
    found = distances(features, torch.tensor([0, 0, 1, 1, 2]))
    expected = {"intra-class": (1 + 1 + 0 + 0 + 0) / 5, "inter-class": (5 + 8 + 5) / 3, "ratio": 0.4 / 6}
    assert found == pytest.approx(expected)
