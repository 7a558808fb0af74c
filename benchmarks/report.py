"""A table on the terminal, a plot and a JSON of the measurements."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.cases import OWN, PEERS
from benchmarks.laws import Line, Target
from benchmarks.measuring import Measurement
from lightning_face.evaluation.figures import save

_COLOURS = dict(zip(OWN + PEERS, ("#0072B2", "#D55E00", "#009E73", "#333333", "#CC79A7", "#E69F00"), strict=True))


def print_report(
    measurements: Sequence[Measurement], laws: Mapping[str, Line], targets: Sequence[Target], console: Console
) -> None:
    """Measurements, laws and targets as tables; MB are those alive at once in a step, bytes/class those of a rank."""
    costs = Table("case", "C", "W", "median ms", "fastest", "over dense", "kB exch.", "MB", "bytes/class")
    for m in measurements:
        numbers = (
            f"{m.num_classes:,}",
            str(m.num_ranks),
            f"{1e3 * m.seconds:,.1f}",
            f"{1e3 * m.fastest_seconds:,.1f}",
            "" if m.over_dense is None else f"{m.over_dense:.3f}",
            f"{m.exchanged_bytes / 1e3:,.0f}",
            f"{m.peak_bytes / 1e6:,.1f}",
            f"{m.held_bytes / m.num_classes:,.0f}",
        )
        costs.add_row(m.name, *numbers)
    growth = Table("law", "at 0", "per class", "R²")
    for name, line in laws.items():
        growth.add_row(name, f"{line.start:.4g}", f"{line.slope:.2e}", f"{line.explained:.3f}")
    promises = Table("target", "C", "W", "measured", "at most", "")
    for target in targets:
        size = f"{target.measurement.num_classes:,}", str(target.measurement.num_ranks)
        verdict = "" if target.is_met else "missed"
        promises.add_row(target.name, *size, f"{target.value:,.4g}", f"{target.limit:,.4g}", verdict)
    for table in (costs, growth, promises):
        for column in table.columns[1:]:
            column.justify = "right"
        console.print(table)


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
    figure = Figure(figsize=(15.0, 4.6), dpi=120, layout="constrained", facecolor="white")
    time, exchanged, memory = figure.subplots(1, 3)
    _draw(time, measurements, lambda m: m.num_classes / m.num_ranks, lambda m: 1e3 * m.fastest_seconds)
    time.set(xlabel="Classes per rank, C / W", ylabel="ms per step, fastest", title="Time")
    _draw(exchanged, measurements, lambda m: m.num_classes, lambda m: m.exchanged_bytes / 1e3)
    exchanged.set(xlabel="Classes, C", ylabel="kB per step and rank", title="Exchanged")
    _draw(memory, measurements, lambda m: m.num_classes, lambda m: m.peak_bytes / 1e6)
    memory.set(xlabel="Classes, C", ylabel="MB alive at once, beyond the tables", title="Memory of a step")
    save(figure, path)


def _draw(axes: Axes, measurements: Sequence[Measurement], x: Any, y: Any) -> None:
    """A line for each case and number of ranks; what is zero, as without other ranks, is left out."""
    for name, num_ranks in sorted({(m.name, m.num_ranks) for m in measurements}):
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
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none")
