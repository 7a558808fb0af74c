"""The plots of the experiments, as figures that `lightning_face.evaluation.drawing.save` writes.

Shapes: N samples, R classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from experiments.comparison import Comparison, Estimate

_MAX_BINS = 10
_GREY = "#999999"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def scatter_figure(features: Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]) -> Figure:
    """Features side by side, a colour for each class.

    Args:
        features: title of each panel to features (N, 2) and labels (N,).
    """
    figure = _figure(4.0 * len(features), 4.0)
    for axes, (title, (features_N2, labels_N)) in zip(_row(figure, len(features)), features.items(), strict=True):
        axes.scatter(features_N2[:, 0], features_N2[:, 1], c=labels_N, cmap="tab10", s=2, linewidths=0)
        axes.set_title(title)
    return figure


def differences_figure(comparison: Comparison, figures: Sequence[str]) -> Figure:
    """Each arm's paired differences from its reference: a panel for each figure, a faint dot for each seed.

    Args:
        comparison: the arms; those without a reference, or missing, have an empty line.
        figures: names of figures; at least one panel is drawn.
    """
    arms = [arm for arm, reference in comparison.references.items() if reference is not None]
    drawn = _figure(3.4 * max(1, len(figures)) + 1.2, 0.35 * len(arms) + 1.4)
    for axes, name in zip(_row(drawn, max(1, len(figures))), figures, strict=False):
        for place, arm in enumerate(arms):
            values = comparison.differences(arm, name)
            if not values:
                continue
            estimate = Estimate.of(values)
            axes.plot(values, [place] * len(values), "o", color=_GREY, markersize=3, alpha=0.6)
            axes.errorbar(estimate.mean, place, xerr=np.nan_to_num(estimate.std_error), fmt="o", color=_COLOURS[0])
        axes.axvline(0.0, color=_GREY, linewidth=0.8, linestyle="--")
        axes.set_yticks(range(len(arms)), [f"{arm} - {comparison.references[arm]}" for arm in arms])
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("difference")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.label_outer()
    return drawn


def sweep_figure(
    comparison: Comparison, sweeps: Mapping[str, Mapping[float, str]], figures: Mapping[str, str]
) -> Figure:
    """Paired differences over the factors of an option: a column for each option, a row for each figure.

    Args:
        comparison: the arms; one that is missing is left out.
        sweeps: label of each option to its factors, and the arm of each.
        figures: name of each figure to its label.
    """
    drawn = _figure(4.6 * len(sweeps), 1.9 * len(figures) + 0.8)
    grid = drawn.subplots(len(figures), len(sweeps), squeeze=False, sharex="col", sharey="row")
    for row, (figure, label) in zip(grid, figures.items(), strict=True):
        for axes, (option, arms) in zip(row, sweeps.items(), strict=True):
            _draw_sweep(axes, {factor: comparison.differences(arm, figure) for factor, arm in arms.items()})
            axes.set_ylabel(label)
            axes.set_xlabel(option)
            axes.label_outer()
    drawn.suptitle("Differences from the control")
    return drawn


def _draw_sweep(axes: Axes, differences: Mapping[float, Sequence[float]]) -> None:
    """Means with standard errors over the factors, a faint dot for each seed."""
    known = {factor: Estimate.of(values) for factor, values in differences.items() if values}
    for factor in known:
        values = differences[factor]
        axes.plot([factor] * len(values), values, "o", color=_GREY, markersize=3, alpha=0.6)
    means = [estimate.mean for estimate in known.values()]
    errors = [float(np.nan_to_num(estimate.std_error)) for estimate in known.values()]
    axes.errorbar(list(known), means, yerr=errors, fmt="o-", color=_COLOURS[0], capsize=2)
    axes.axhline(0.0, color=_GREY, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xticks(list(differences), [f"{factor:g}" for factor in differences])
    axes.xaxis.set_minor_locator(NullLocator())


def frequency_figure(images_by_arm: Mapping[str, ArrayLike], nearest_by_arm: Mapping[str, ArrayLike]) -> Figure:
    """Distance to the nearest other class over the class's number of images: medians, quartiles as bars.

    Args:
        images_by_arm: (R,) images of each class.
        nearest_by_arm: (R,) its distance.
    """
    figure = _figure(7.5, 4.5)
    (axes,) = _row(figure, 1)
    for colour, (arm, nearest) in zip(_COLOURS, nearest_by_arm.items(), strict=False):
        images_K, quartiles_K3 = medians_by_frequency(images_by_arm[arm], nearest)
        spread = np.abs(quartiles_K3[:, ::2] - quartiles_K3[:, 1:2]).T
        axes.errorbar(images_K, quartiles_K3[:, 1], yerr=spread, fmt="o-", color=colour, capsize=2, label=arm)
    axes.set_xscale("log")
    axes.set(xlabel="Images of the class", ylabel="Distance to the nearest other class mean")
    axes.set_ylim(bottom=0.0)
    if nearest_by_arm:
        axes.legend()
    return figure


def medians_by_frequency(images: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quartiles of classes with about equally many images.

    Returns:
        (K,) median number of images, and (K, 3) quartiles of the values, of each of K bins.
    """
    images_R, values_R = np.asarray(images, dtype=np.float64), np.asarray(values, dtype=np.float64)
    edges = np.geomspace(images_R.min(), images_R.max(), _MAX_BINS + 1)[1:-1]
    bins_R = np.searchsorted(edges, images_R, side="right")
    chosen = [bins_R == place for place in np.unique(bins_R)]
    medians = [float(np.median(images_R[is_in_R])) for is_in_R in chosen]
    quartiles = [np.quantile(values_R[is_in_R], (0.25, 0.5, 0.75)) for is_in_R in chosen]
    return np.array(medians), np.array(quartiles)


def _figure(width: float, height: float) -> Figure:
    """Empty, of width x height inches."""
    return Figure(figsize=(width, height), dpi=120, layout=ConstrainedLayoutEngine())


def _row(figure: Figure, columns: int) -> list[Axes]:
    return list(figure.subplots(1, columns, squeeze=False)[0])
