"""What the plots draw, of arms that are finished and of those that are missing."""

import pytest

from experiments.comparison import Comparison, Estimate
from experiments.plots import differences_figure, medians_by_frequency, sweep_figure


def test_medians_by_frequency() -> None:
    images, quartiles = medians_by_frequency([1, 1, 1, 1000, 1], [1.0, 2.0, 3.0, 9.0, 2.0])
    assert images.tolist() == [1, 1000]
    assert quartiles.tolist() == [[1.75, 2.0, 2.25], [9.0, 9.0, 9.0]]


def test_sweep_on_twin_axes() -> None:
    series = {"loss": [Estimate(3.0, 0.1, 2), None, Estimate(2.0, float("nan"), 1)], "tar": [None, None, None]}
    figure = sweep_figure({"weight": (["0", "1", "10"], series)})
    loss, tar = figure.axes
    (line,) = [container.lines[0] for container in loss.containers]
    assert line.get_xdata().tolist() == [0, 2] and line.get_ydata().tolist() == [3.0, 2.0]
    assert tar.get_ylabel() == "tar" and [text.get_text() for text in loss.get_xticklabels()] == ["0", "1", "10"]


def test_differences_with_a_missing_arm() -> None:
    figures = {"plain": {1: {"auc": 0.5}, 2: {"auc": 0.7}}, "better": {1: {"auc": 0.6}, 2: {"auc": 0.9}}, "absent": {}}
    figure = differences_figure(Comparison({"plain": None, "better": "plain", "absent": "plain"}, figures), ["auc"])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["better - plain", "absent - plain"]
    (bar,) = axes.containers
    assert bar.lines[0].get_xdata() == pytest.approx([0.15])
    assert axes.lines[0].get_xdata() == pytest.approx([0.1, 0.2])
