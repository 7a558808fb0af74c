"""Tables, a plot and a JSON of the measurements of class tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.cases import OWN, PEERS
from benchmarks.laws import Line, Target
from benchmarks.measuring import Measurement
from benchmarks.sheets import Sheet
from lightning_face.evaluation.drawing import save

_COLOURS = dict(
    zip(
        OWN + PEERS,
        ("#0072B2", "#56B4E9", "#D55E00", "#009E73", "#7A5195", "#B8A9D9", "#333333", "#CC79A7", "#E69F00"),
        strict=True,
    )
)

LEGEND = (
    "ms: median of the steps; least: the fastest; / dense: fastest over fastest dense softmax; kB: exchanged per step"
    " and rank; MB: most alive at once in a step, beyond the tables; B/class: held per class by a rank between steps."
)


def sheets(measurements: Sequence[Measurement], laws: Mapping[str, Line], targets: Sequence[Target]) -> list[Sheet]:
    """Measurements, laws and targets."""
    costs = [
        (
            m.name,
            f"{m.num_classes:,}",
            str(m.num_ranks),
            f"{1e3 * m.seconds:,.1f}",
            f"{1e3 * m.fastest_seconds:,.1f}",
            "" if m.over_dense is None else f"{m.over_dense:.3f}",
            f"{m.exchanged_bytes / 1e3:,.0f}",
            f"{m.peak_bytes / 1e6:,.1f}",
            f"{m.held_bytes / m.num_classes:,.0f}",
        )
        for m in measurements
    ]
    growth = [(name, f"{line.start:.4g}", f"{line.slope:.2e}", f"{line.explained:.3f}") for name, line in laws.items()]
    promises = [
        (
            target.name,
            f"{target.measurement.num_classes:,}",
            str(target.measurement.num_ranks),
            f"{target.value:,.4g}",
            f"{target.limit:,.4g}",
            "met" if target.is_met else "missed",
        )
        for target in targets
    ]
    return [
        Sheet(("case", "C", "W", "ms", "least", "/ dense", "kB", "MB", "B/class"), costs),
        Sheet(("law", "at 0", "per class", "R²"), growth),
        Sheet(("target", "C", "W", "measured", "at most", "verdict"), promises),
    ]


def write_json(
    path: Path,
    machine: Mapping[str, Any],
    measurements: Sequence[Measurement],
    laws: Mapping[str, Line],
    targets: Sequence[Target],
) -> None:
    """Everything that was measured, and where."""
    content = {
        "machine": dict(machine),
        "measurements": [asdict(m) for m in measurements],
        "laws": {name: asdict(line) for name, line in laws.items()},
        "targets": [asdict(target) | {"is_met": target.is_met} for target in targets],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def plot(path: Path, measurements: Sequence[Measurement]) -> None:
    """Step time, bytes exchanged and memory of a step over the number of classes."""
    figure = Figure(figsize=(14.0, 5.0), dpi=120, layout="constrained", facecolor="white")
    time, exchanged, memory = figure.subplots(1, 3)
    _draw(time, measurements, lambda m: m.num_classes / m.num_ranks, lambda m: 1e3 * m.fastest_seconds)
    time.set(xlabel="Classes per rank, C / W", ylabel="ms per step, fastest", title="Time")
    _draw(exchanged, measurements, lambda m: m.num_classes, lambda m: m.exchanged_bytes / 1e3)
    exchanged.set(xlabel="Classes, C", ylabel="kB per step and rank", title="Exchanged")
    _draw(memory, measurements, lambda m: m.num_classes, lambda m: m.peak_bytes / 1e6)
    memory.set(xlabel="Classes, C", ylabel="MB alive at once, beyond the tables", title="Memory of a step")
    exchanged.set(yscale="linear", ylim=(0, None))
    figure.legend(*time.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    save(figure, path)


def _draw(axes: Axes, measurements: Sequence[Measurement], x: Any, y: Any) -> None:
    """A line for each case and number of ranks; what is zero, as without other ranks, is left out."""
    lines = {(m.name, m.num_ranks) for m in measurements}
    for name, num_ranks in sorted(lines, key=lambda line: ((OWN + PEERS).index(line[0]), line[1])):
        points = [m for m in measurements if (m.name, m.num_ranks) == (name, num_ranks) and y(m) > 0]
        if points:
            style = "--" if name in PEERS else "-"
            label = name if name in PEERS else f"{name}, W = {num_ranks}"
            axes.plot(
                [x(m) for m in points],
                [y(m) for m in points],
                style,
                marker="os^D"[num_ranks % 4],
                color=_COLOURS[name],
                label=label,
            )
    axes.set(xscale="log", yscale="log")
    axes.grid(color="#E3E3E3", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
