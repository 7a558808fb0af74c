"""What the plots draw, of arms that are finished and of those that are missing."""

import pytest

from experiments.comparison import Comparison
from experiments.plots import differences_figure, medians_by_frequency, sweep_figure


def test_medians_by_frequency() -> None:
    images, quartiles = medians_by_frequency([1, 1, 1, 1000, 1], [1.0, 2.0, 3.0, 9.0, 2.0])
    assert images.tolist() == [1, 1000]
    assert quartiles.tolist() == [[1.75, 2.0, 2.25], [9.0, 9.0, 9.0]]


def test_sweep_of_paired_differences() -> None:
    """Two seeds of factor 1, one of factor 10, none of factor 100; no arm has the second figure."""
    plain = {1: {"loss": 3.0}, 2: {"loss": 5.0}}
    figures = {"plain": plain, "one": {1: {"loss": 3.1}, 2: {"loss": 5.3}}, "ten": {2: {"loss": 4.0}}, "hundred": {}}
    comparison = Comparison({"plain": None, "one": "plain", "ten": "plain", "hundred": "plain"}, figures)
    arms = {1.0: "one", 10.0: "ten", 100.0: "hundred"}
    figure = sweep_figure(comparison, {"weight": arms, "margin": {}}, {"loss": "total loss", "auc": "AUC"})
    loss, *others = figure.axes
    (bar,) = loss.containers
    assert bar.lines[0].get_xdata().tolist() == [1, 10]
    assert bar.lines[0].get_ydata() == pytest.approx([0.2, -1.0])
    assert loss.lines[0].get_ydata() == pytest.approx([0.1, 0.3])
    assert [axes.containers[0].lines[0].get_xdata().size for axes in others] == [0, 0, 0]
    assert [axes.get_ylabel() for axes in figure.axes] == ["total loss", "", "AUC", ""]


def test_differences_with_a_missing_arm() -> None:
    figures = {"plain": {1: {"auc": 0.5}, 2: {"auc": 0.7}}, "better": {1: {"auc": 0.6}, 2: {"auc": 0.9}}, "absent": {}}
    figure = differences_figure(Comparison({"plain": None, "better": "plain", "absent": "plain"}, figures), ["auc"])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["better - plain", "absent - plain"]
    (bar,) = axes.containers
    assert bar.lines[0].get_xdata() == pytest.approx([0.15])
    assert axes.lines[0].get_xdata() == pytest.approx([0.1, 0.2])
