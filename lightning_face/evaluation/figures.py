"""The plots: ROC, scores, losses and distances between class centers. The only door to matplotlib.

Figures are made from `Figure` and drawn by Agg, without `pyplot`: no global state, no display, safe in any thread.
"""

import os
from collections.abc import Iterable, Mapping
from itertools import cycle
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from lightning_face.evaluation.curves import histogram_edges, roc_corners, running_mean, thinned
from lightning_face.evaluation.roc import MIN_FALSE_ACCEPTS
from lightning_face.evaluation.verification import VerificationResult

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_INK, _AXIS, _GRID = "#333333", "#999999", "#E3E3E3"
_SMOOTHED_SHARE = 0.02  # of a series, before and after each point, averaged into its smooth line
_MAX_BINS = 12  # of numbers of images


def roc_figure(results: Mapping[str, VerificationResult]) -> Figure:
    """TAR over FAR: on a logarithmic axis for low rates, and on plain axes around the equal error rates.

    A curve is dotted where it rests on fewer than `MIN_FALSE_ACCEPTS` impostor pairs.

    Args:
        results: label of each curve to its result; at least one.
    """
    figure, (low, plain) = _figure(1, 2, width=11.0, height=4.8)
    start = min(0.5 / result.roc.impostors for result in results.values())  # a logarithmic axis has no zero
    lowest_tar = 1.0
    for colour, (label, result) in zip(cycle(_COLOURS), results.items(), strict=False):
        far_T, tar_T = roc_corners(result.roc)
        firm = int(np.searchsorted(far_T, MIN_FALSE_ACCEPTS / result.roc.impostors))
        far_log_T, dotted = np.maximum(far_T, start), slice(0, firm + 1)
        low.plot(far_log_T[dotted], tar_T[dotted], color=colour, linestyle=":", drawstyle="steps-post")
        low.plot(far_log_T[firm:], tar_T[firm:], color=colour, label=label, drawstyle="steps-post")
        figures = f"AUC {result.auc:.4f}, EER {result.eer:.2%}"
        plain.plot(far_T, tar_T, color=colour, label=f"{label}: {figures}", drawstyle="steps-post")
        plain.plot(result.eer, 1.0 - result.eer, "o", color=colour, markeredgecolor="white", clip_on=False, zorder=3)
        lowest_tar = min(lowest_tar, float(tar_T[0]))
    low.plot([], [], color=_AXIS, linestyle=":", label=f"fewer than {MIN_FALSE_ACCEPTS} impostor pairs")
    bottom = max(0.0, min(0.98, 1.08 * lowest_tar - 0.08))
    low.set(xscale="log", xlim=(start, 1.0), ylim=(bottom, 1.0 + 0.03 * (1.0 - bottom)), title="Low false accept rates")
    plain.plot([0, 1], [1, 0], color=_INK, linewidth=0.8, linestyle="--", label="FAR = 1 − TAR")
    reach = min(0.5, max(0.01, 3.0 * max(result.eer for result in results.values())))
    plain.set(xlim=(0.0, reach), ylim=(1.0 - 2.0 * reach, 1.0 + 0.06 * reach), title="Around the equal error rate")
    for axes in (low, plain):
        axes.set(xlabel="False accept rate (FAR)", ylabel="True accept rate (TAR)")
    _legend(low, "best")
    _legend(plain, "lower right")
    return figure


def score_histogram_figure(result: VerificationResult, title: str) -> Figure:
    """Histograms of the cosines of impostor and of genuine pairs, each in per cent of its kind, and the threshold."""
    figure, (axes,) = _figure(1, 1, width=7.5, height=4.5)
    genuine, impostor = result.scores_P[result.same_P], result.scores_P[~result.same_P]
    edges = histogram_edges([genuine, impostor], result.threshold)
    _histogram(axes, impostor, edges, _COLOURS[1], f"Impostor, {_count(len(impostor))} pairs")
    _histogram(axes, genuine, edges, _COLOURS[0], f"Genuine, {_count(len(genuine))} pairs")
    axes.set(xlabel="Cosine similarity", ylabel="Share of genuine, of impostor pairs", title=title)
    _finish_histogram(axes, {f"Threshold {result.threshold:.3f}": result.threshold})
    return figure


def losses_figure(steps: ArrayLike, series: Mapping[str, ArrayLike]) -> Figure:
    """The total loss and its terms over the steps, a panel for each: faint as logged, strong as a running mean.

    Args:
        steps: (S,) optimizer steps, rising.
        series: name of each term to its (S,) values; what is not finite (not logged at that step) is left out. At
            least one.
    """
    columns = min(len(series), 3 if len(series) > 4 else 2)
    rows = -(-len(series) // columns)
    figure, panels = _figure(rows, columns, width=4.6 * columns + 1.0, height=2.9 * rows + 0.4)
    steps_S = np.asarray(steps, dtype=np.float64)
    for axes, colour, (name, values) in zip(panels, cycle(_COLOURS), series.items(), strict=False):
        axes.set(title=name, xlabel="Optimizer step", ylabel="Loss")
        _draw_series(axes, steps_S, {name: values}, [colour])
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    return figure


def long_tail_figure(
    steps: ArrayLike,
    series: Mapping[str, Mapping[str, ArrayLike]],
    images: ArrayLike,
    centers: Mapping[str, ArrayLike],
) -> Figure:
    """Panels by class frequency: over the steps, a line for each bucket; and of centers over their number of images.

    Args:
        steps: (S,) optimizer steps, rising.
        series: title of each panel to the (S,) values of each bucket; what is not finite is left out.
        images: (R,) of each center's class.
        centers: label of each further panel to its (R,) values; what is not finite is left out.
    """
    columns = 3
    rows = -(-(len(series) + len(centers)) // columns)
    figure, panels = _figure(rows, columns, width=4.6 * columns + 1.0, height=2.9 * rows + 0.4)
    steps_S = np.asarray(steps, dtype=np.float64)
    for axes, (title, by_bucket) in zip(panels, series.items(), strict=False):
        axes.set(title=title, xlabel="Optimizer step")
        _draw_series(axes, steps_S, by_bucket, _COLOURS)
        if axes.lines:
            _legend(axes, "best")
    for axes, (title, values) in zip(panels[len(series) :], centers.items(), strict=False):
        axes.set(title=title, xlabel="Images of the class")
        _draw_medians(axes, np.asarray(images, dtype=np.float64), np.asarray(values, dtype=np.float64))
    for axes in panels[len(series) + len(centers) :]:
        axes.set_axis_off()
    return figure


def nearest_center_figure(distances_by_label: Mapping[str, ArrayLike], margin: float | None) -> Figure:
    """Histograms of the distance of each class center to the nearest other one.

    Args:
        distances_by_label: label of each run to its (C,) Euclidean distances; at least one run and one class.
        margin: MML's minimum margin M, a *squared* distance: a line is drawn at its root. None draws none.
    """
    figure, (axes,) = _figure(1, 1, width=7.5, height=4.5)
    distances = {label: np.asarray(values, dtype=np.float64) for label, values in distances_by_label.items()}
    lines = {} if margin is None else {f"√M = {margin**0.5:.3g} (M = {margin:g})": margin**0.5}
    edges = histogram_edges(list(distances.values()), *lines.values())
    for colour, (label, values) in zip(cycle(_COLOURS), distances.items(), strict=False):
        beyond = "" if margin is None else f", {np.mean(values >= margin**0.5):.1%} beyond √M"
        _histogram(axes, values, edges, colour, f"{label}: median {np.median(values):.3g}{beyond}")
    axes.set(xlabel="Euclidean distance to the nearest other center", ylabel="Share of classes")
    axes.set_title("Distance between class centers")
    _finish_histogram(axes, lines)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all: a reader, or a kill half-way, never meets half a file.

    Args:
        figure: what to draw, at its own size and resolution.
        path: the file, in an existing folder; replaced if it exists.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    FigureCanvasAgg(figure)
    try:
        with temporary.open("wb") as file:
            # Without the version of matplotlib the same figure gives the same bytes.
            figure.savefig(file, format="png", metadata={"Software": None})
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """An empty figure of width x height inches, and its panels row by row."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    figure = Figure(figsize=(width, height), dpi=120, layout=layout, facecolor="white")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_AXIS)
        axes.tick_params(which="both", color=_AXIS, labelcolor=_INK, labelsize=9)
        axes.title.set_fontsize(11)
    return figure, panels


def _legend(axes: Axes, where: Literal["best", "lower right", "upper left"]) -> None:
    axes.legend(loc=where, framealpha=0.9, edgecolor="none", fontsize=9)


def _count(number: int) -> str:
    return f"{number:,}".replace(",", "\u2009")


def _histogram(axes: Axes, values: NDArray[np.float64], edges: NDArray[np.float64], colour: str, label: str) -> None:
    shares = np.histogram(values, edges)[0] / len(values)
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.25)
    axes.stairs(shares, edges, color=colour, linewidth=1.5, label=label)
    axes.set_xlim(edges[0], edges[-1])


def _finish_histogram(axes: Axes, lines: Mapping[str, float]) -> None:
    """Vertical lines at the values of `lines`, and a legend in a band of its own above bars and lines."""
    entries = len(axes.get_legend_handles_labels()[1]) + len(lines)
    headroom = 1.06 + 0.08 * entries
    axes.set_ylim(0.0, headroom * axes.get_ylim()[1])
    for label, value in lines.items():
        axes.axvline(value, ymax=1.0 / headroom, color=_INK, linestyle="--", label=label)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    _legend(axes, "upper left")


def _draw_nothing(axes: Axes, why: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, why, ha="center", va="center", color=_INK, transform=axes.transAxes)


def _draw_medians(axes: Axes, images_R: NDArray[np.float64], values_R: NDArray[np.float64]) -> None:
    """Median, and quartiles as a band, of values whose numbers of images lie close together on a logarithmic axis."""
    kept = np.isfinite(values_R) & (images_R > 0)
    if not kept.any():
        _draw_nothing(axes, "no center has moved")
        return
    images_R, values_R = images_R[kept], values_R[kept]
    edges = np.geomspace(images_R.min(), images_R.max(), _MAX_BINS + 1)[1:-1]
    bins_R = np.searchsorted(edges, images_R, side="right")
    quartiles = np.array([np.quantile(values_R[bins_R == place], (0.25, 0.5, 0.75)) for place in np.unique(bins_R)])
    places = [np.median(images_R[bins_R == place]) for place in np.unique(bins_R)]
    axes.fill_between(places, quartiles[:, 0], quartiles[:, 2], color=_COLOURS[0], alpha=0.2, label="quartiles")
    axes.plot(places, quartiles[:, 1], "o-", color=_COLOURS[0], markersize=4, label="median")
    axes.set_xscale("log")
    axes.set_xticks(_round_numbers(images_R.min(), images_R.max()))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0.0)
    _legend(axes, "best")


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from just below `low` to just above `high`, every third of them if many."""
    numbers = [factor * 10.0**power for power in range(10) for factor in (1, 2, 5)]
    inside = [number for number in numbers if low / 1.5 <= number <= high * 1.5]
    return inside if len(inside) <= 7 else [number for number in inside if np.log10(number) % 1 == 0]


def _draw_series(
    axes: Axes, steps_S: NDArray[np.float64], series: Mapping[str, ArrayLike], colours: Iterable[str]
) -> None:
    """Lines over the steps, faint as logged, strong as a running mean, on one axis for all."""
    everything: list[NDArray[np.float64]] = []
    for colour, (label, values) in zip(colours, series.items(), strict=False):
        values_S = np.asarray(values, dtype=np.float64)
        logged_S = np.isfinite(values_S)
        values_L, steps_L = values_S[logged_S], steps_S[logged_S]
        if not len(values_L):
            continue
        drawn = thinned(len(values_L))
        smooth_L = running_mean(values_L, max(1, round(_SMOOTHED_SHARE * len(values_L))))
        axes.plot(steps_L[drawn], values_L[drawn], color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(steps_L[drawn], smooth_L[drawn], color=colour, linewidth=1.8, label=label)
        everything.append(values_L)
    if not everything:
        _draw_nothing(axes, "never logged")
        return
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    values = np.concatenate(everything)
    if values.min() > 0.0 and values.max() > 20.0 * values.min():
        axes.set_yscale("log")
