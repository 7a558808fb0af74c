"""Figures by class frequency, by hand and against the exact ROC."""

import numpy as np
import pytest
import torch

from experiments.known import threshold_at, verified
from experiments.margin_bias import bias_of


def vectors(*degrees: float) -> torch.Tensor:
    radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_one_threshold_by_hand() -> None:
    """Two people; genuine pairs 10 and 50 degrees apart, impostors 20, 30, 70 and 80."""
    embeddings, labels = vectors(0, 10, 30, 80), torch.tensor([0, 0, 1, 1])
    threshold = threshold_at(embeddings, labels, far=0.25)
    assert np.cos(np.deg2rad(30)) < threshold <= np.cos(np.deg2rad(20))
    found = verified(embeddings, labels, threshold)
    assert found == {"auc": pytest.approx(6 / 8), "tar": 0.5, "far": 0.25}
    assert threshold_at(embeddings, labels, far=0.0) > np.cos(np.deg2rad(20))
    assert verified(embeddings[:2], labels[:2], threshold) == {}


def test_bias_by_hand() -> None:
    """Of 12 images, a class has 4, two have 2, four have 1: head, middle and tail."""
    figures = bias_of([4, 2, 2, 1, 1, 1, 1], [2.0, 3.0, 5.0, 6.0, 7.0, 8.0, 9.0], within=4.0, between=11.0, margin=36.0)
    assert figures == {
        "median": 6.0,
        "median of head": 2.0,
        "median of middle": 4.0,
        "median of tail": 7.5,
        "tail / head": 3.75,
        "within": 4.0,
        "between": 11.0,
        "median / within": 1.5,
        "share beyond margin": 4 / 7,
    }
    assert "tail / head" not in bias_of([2, 2], [1.0, 1.0], 1.0, 1.0, margin=1.0)
