"""How figures look and become files: panels, legends, histograms, lines over steps. The only door to matplotlib.

Figures are made from `Figure` and drawn by Agg, without `pyplot`: no global state, no display, safe in any thread.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from lightning_face.evaluation.curves import running_mean, thinned

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, AXIS, _GRID = "#333333", "#999999", "#E3E3E3"
_SMOOTHED_SHARE = 0.02  # of a series, before and after each point, averaged into its smooth line
_MAX_BINS = 12  # of numbers of images


def empty_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """An empty figure of width x height inches, and its panels row by row."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    figure = Figure(figsize=(width, height), dpi=120, layout=layout, facecolor="white")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(AXIS)
        axes.tick_params(which="both", color=AXIS, labelcolor=INK, labelsize=9)
        axes.title.set_fontsize(11)
    return figure, panels


def add_legend(axes: Axes, where: Literal["best", "lower right", "upper left"]) -> None:
    """A legend of what has a label."""
    axes.legend(loc=where, framealpha=0.9, edgecolor="none", fontsize=9)


def count_text(number: int) -> str:
    """A number with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u2009")


def draw_histogram(
    axes: Axes, values: NDArray[np.float64], edges: NDArray[np.float64], colour: str, label: str
) -> None:
    """Shares of (N,) values between the edges, filled and outlined."""
    shares = np.histogram(values, edges)[0] / len(values)
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.25)
    axes.stairs(shares, edges, color=colour, linewidth=1.5, label=label)
    axes.set_xlim(edges[0], edges[-1])


def finish_histogram(axes: Axes, lines: Mapping[str, float]) -> None:
    """Vertical lines at the values of `lines`, and a legend in a band of its own above bars and lines."""
    entries = len(axes.get_legend_handles_labels()[1]) + len(lines)
    headroom = 1.06 + 0.08 * entries
    axes.set_ylim(0.0, headroom * axes.get_ylim()[1])
    for label, value in lines.items():
        axes.axvline(value, ymax=1.0 / headroom, color=INK, linestyle="--", label=label)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    add_legend(axes, "upper left")


def _draw_nothing(axes: Axes, why: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, why, ha="center", va="center", color=INK, transform=axes.transAxes)


def draw_medians(axes: Axes, images_R: NDArray[np.float64], values_R: NDArray[np.float64]) -> None:
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
    axes.fill_between(places, quartiles[:, 0], quartiles[:, 2], color=COLOURS[0], alpha=0.2, label="quartiles")
    axes.plot(places, quartiles[:, 1], "o-", color=COLOURS[0], markersize=4, label="median")
    axes.set_xscale("log")
    axes.set_xticks(_round_numbers(images_R.min(), images_R.max()))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom=0.0)
    add_legend(axes, "best")


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from just below `low` to just above `high`, every third of them if many."""
    numbers = [factor * 10.0**power for power in range(10) for factor in (1, 2, 5)]
    inside = [number for number in numbers if low / 1.5 <= number <= high * 1.5]
    return inside if len(inside) <= 7 else [number for number in inside if np.log10(number) % 1 == 0]


def draw_series(
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
