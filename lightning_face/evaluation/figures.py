"""The plots: ROC, scores, losses and distances between class centers."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from numpy.typing import ArrayLike

from lightning_face.evaluation.curves import histogram_edges, roc_corners
from lightning_face.evaluation.drawing import (
    AXIS,
    COLOURS,
    INK,
    Figure,
    add_legend,
    count_text,
    draw_histogram,
    draw_medians,
    draw_series,
    empty_figure,
    finish_histogram,
)
from lightning_face.evaluation.roc import MIN_FALSE_ACCEPTS
from lightning_face.evaluation.verification import VerificationResult


def roc_figure(results: Mapping[str, VerificationResult]) -> Figure:
    """TAR over FAR: on a logarithmic axis for low rates, and on plain axes around the equal error rates.

    A curve is dotted where it rests on fewer than `MIN_FALSE_ACCEPTS` impostor pairs.

    Args:
        results: label of each curve to its result; at least one.
    """
    figure, (low, plain) = empty_figure(1, 2, width=11.0, height=4.8)
    start = min(0.5 / result.roc.impostors for result in results.values())  # a logarithmic axis has no zero
    lowest_tar = 1.0
    for colour, (label, result) in zip(cycle(COLOURS), results.items(), strict=False):
        far_T, tar_T = roc_corners(result.roc)
        firm = int(np.searchsorted(far_T, MIN_FALSE_ACCEPTS / result.roc.impostors))
        far_log_T, dotted = np.maximum(far_T, start), slice(0, firm + 1)
        low.plot(far_log_T[dotted], tar_T[dotted], color=colour, linestyle=":", drawstyle="steps-post")
        low.plot(far_log_T[firm:], tar_T[firm:], color=colour, label=label, drawstyle="steps-post")
        figures = f"AUC {result.auc:.4f}, EER {result.eer:.2%}"
        plain.plot(far_T, tar_T, color=colour, label=f"{label}: {figures}", drawstyle="steps-post")
        plain.plot(result.eer, 1.0 - result.eer, "o", color=colour, markeredgecolor="white", clip_on=False, zorder=3)
        lowest_tar = min(lowest_tar, float(tar_T[0]))
    low.plot([], [], color=AXIS, linestyle=":", label=f"fewer than {MIN_FALSE_ACCEPTS} impostor pairs")
    bottom = max(0.0, min(0.98, 1.08 * lowest_tar - 0.08))
    low.set(xscale="log", xlim=(start, 1.0), ylim=(bottom, 1.0 + 0.03 * (1.0 - bottom)), title="Low false accept rates")
    plain.plot([0, 1], [1, 0], color=INK, linewidth=0.8, linestyle="--", label="FAR = 1 − TAR")
    reach = min(0.5, max(0.01, 3.0 * max(result.eer for result in results.values())))
    plain.set(xlim=(0.0, reach), ylim=(1.0 - 2.0 * reach, 1.0 + 0.06 * reach), title="Around the equal error rate")
    for axes in (low, plain):
        axes.set(xlabel="False accept rate (FAR)", ylabel="True accept rate (TAR)")
    add_legend(low, "best")
    add_legend(plain, "lower right")
    return figure


def score_histogram_figure(result: VerificationResult, title: str) -> Figure:
    """Histograms of the cosines of impostor and of genuine pairs, each in per cent of its kind, and the threshold."""
    figure, (axes,) = empty_figure(1, 1, width=7.5, height=4.5)
    genuine, impostor = result.scores_P[result.same_P], result.scores_P[~result.same_P]
    edges = histogram_edges([genuine, impostor], result.threshold)
    draw_histogram(axes, impostor, edges, COLOURS[1], f"Impostor, {count_text(len(impostor))} pairs")
    draw_histogram(axes, genuine, edges, COLOURS[0], f"Genuine, {count_text(len(genuine))} pairs")
    axes.set(xlabel="Cosine similarity", ylabel="Share of genuine, of impostor pairs", title=title)
    finish_histogram(axes, {f"Threshold {result.threshold:.3f}": result.threshold})
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
    figure, panels = empty_figure(rows, columns, width=4.6 * columns + 1.0, height=2.9 * rows + 0.4)
    steps_S = np.asarray(steps, dtype=np.float64)
    for axes, colour, (name, values) in zip(panels, cycle(COLOURS), series.items(), strict=False):
        axes.set(title=name, xlabel="Optimizer step", ylabel="Loss")
        draw_series(axes, steps_S, {name: values}, [colour])
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
    figure, panels = empty_figure(rows, columns, width=4.6 * columns + 1.0, height=2.9 * rows + 0.4)
    steps_S = np.asarray(steps, dtype=np.float64)
    for axes, (title, by_bucket) in zip(panels, series.items(), strict=False):
        axes.set(title=title, xlabel="Optimizer step")
        draw_series(axes, steps_S, by_bucket, COLOURS)
        if axes.lines:
            add_legend(axes, "best")
    for axes, (title, values) in zip(panels[len(series) :], centers.items(), strict=False):
        axes.set(title=title, xlabel="Images of the class")
        draw_medians(axes, np.asarray(images, dtype=np.float64), np.asarray(values, dtype=np.float64))
    for axes in panels[len(series) + len(centers) :]:
        axes.set_axis_off()
    return figure


def nearest_center_figure(distances_by_label: Mapping[str, ArrayLike], margin: float | None) -> Figure:
    """Histograms of the distance of each class center to the nearest other one.

    Args:
        distances_by_label: label of each run to its (C,) Euclidean distances; at least one run and one class.
        margin: MML's minimum margin M, a *squared* distance: a line is drawn at its root. None draws none.
    """
    figure, (axes,) = empty_figure(1, 1, width=7.5, height=4.5)
    distances = {label: np.asarray(values, dtype=np.float64) for label, values in distances_by_label.items()}
    lines = {} if margin is None else {f"√M = {margin**0.5:.3g} (M = {margin:g})": margin**0.5}
    edges = histogram_edges(list(distances.values()), *lines.values())
    for colour, (label, values) in zip(cycle(COLOURS), distances.items(), strict=False):
        beyond = "" if margin is None else f", {np.mean(values >= margin**0.5):.1%} beyond √M"
        draw_histogram(axes, values, edges, colour, f"{label}: median {np.median(values):.3g}{beyond}")
    axes.set(xlabel="Euclidean distance to the nearest other center", ylabel="Share of classes")
    axes.set_title("Distance between class centers")
    finish_histogram(axes, lines)
    return figure
