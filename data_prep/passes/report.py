"""`report.md` and `report.png`: what a dataset holds and what not, its long tail, and some of its images to look at.

The only door to matplotlib, which takes a moment to load: import this last.
"""

import io
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data_prep.images import RejectedImage, thumbnail
from data_prep.passes.rejects import REJECTED_FILE
from data_prep.passes.rows import Rows
from data_prep.passes.selection import Selection
from data_prep.passes.spool import FaceReader
from lightning_face.files import write_atomically

REPORT_FILE = "report.md"
FIGURE_FILE = "report.png"

_ROWS, _COLUMNS, _TILE = 8, 8, 64  # identities, images of each, and their side in pixels
_MOST_REASONS = 20
_GREY = 128  # an image that cannot be decoded: a source may hand them on unseen


def write_report(out: Path, work: Path, num_items: int, selection: Selection, left_out: Counter[str]) -> None:
    """Write both files.

    Args:
        out: folder of the dataset.
        work: folder of unfinished work, with the spool.
        num_items: of the source.
        selection: what the dataset holds.
        left_out: how many images are left out, by kind of reason.

    Raises:
        OSError: a file cannot be written.
    """
    counts_C = selection.counts()
    ranked_C = np.argsort(-counts_C, kind="stable")
    shown = np.unique(np.linspace(0, len(ranked_C) - 1, _ROWS).round().astype(np.int64))
    rows = [(rank + 1, int(ranked_C[rank]), int(counts_C[ranked_C[rank]])) for rank in shown.tolist()]
    tables = [
        "",
        _table(("", "images"), _summary(num_items, counts_C, left_out)),
        _table(("left out, see " + REJECTED_FILE, "images"), _reasons(left_out)) if left_out else "",
        _table(
            ("rank", "images", "identity"),
            [(str(rank), f"{count:,}", selection.identities[label]) for rank, label, count in rows],
        ),
    ]
    text = "# What this dataset holds\n" + "\n".join(tables) + f"\n![long tail and images]({FIGURE_FILE})\n"
    write_atomically(out / REPORT_FILE, text.encode(errors="backslashreplace"))
    sheet = _sheet(work, selection, [label for _, label, _ in rows])
    write_atomically(out / FIGURE_FILE, _png(counts_C[ranked_C], sheet, [f"#{rank}" for rank, _, _ in rows]))


def _summary(num_items: int, counts_C: NDArray[np.int64], left_out: Counter[str]) -> list[tuple[str, str]]:
    least, median, most = counts_C.min(), np.median(counts_C), counts_C.max()
    return [
        ("in the source", f"{num_items:,}"),
        ("left out", f"{left_out.total():,}"),
        ("in the dataset", f"{counts_C.sum():,}"),
        (f"of each of {len(counts_C):,} identities", f"{least:,} to {most:,}, median {median:g}"),
    ]


def _reasons(left_out: Counter[str]) -> list[tuple[str, str]]:
    ordered = sorted(left_out.items(), key=lambda reason: (-reason[1], reason[0]))
    rows = [(kind, f"{count:,}") for kind, count in ordered[:_MOST_REASONS]]
    rest = sum(count for _, count in ordered[_MOST_REASONS:])
    return [*rows, ("other reasons", f"{rest:,}")] if rest else rows


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _sheet(work: Path, selection: Selection, labels: Sequence[int]) -> NDArray[np.uint8]:
    """The first images of each label, a row each, (rows * _TILE, _COLUMNS * _TILE, 3)."""
    sheet = np.full((len(labels), _TILE, _COLUMNS, _TILE, 3), 255, np.uint8)
    with closing(FaceReader(work)) as faces:
        for row, samples in enumerate(_first_samples(selection.samples, labels)):
            for column, sample in enumerate(samples):
                try:
                    sheet[row, :, column] = thumbnail(
                        faces.read(*(int(sample[name]) for name in ("chunk", "offset", "size"))), _TILE
                    )
                except RejectedImage:
                    sheet[row, :, column] = _GREY
    return sheet.reshape(len(labels) * _TILE, _COLUMNS * _TILE, 3)


def _first_samples(samples: Rows, labels: Sequence[int]) -> list[NDArray[np.void]]:
    """Up to `_COLUMNS` of each label."""
    first = [np.empty(0, samples.dtype) for _ in labels]
    for block in samples.blocks():
        for row, label in enumerate(labels):
            first[row] = np.concatenate([first[row], block[block["label"] == label]])[:_COLUMNS]
    return first


def _png(ranked_counts_C: NDArray[np.int64], sheet: NDArray[np.uint8], names: Sequence[str]) -> bytes:
    figure = Figure(figsize=(12.0, 5.8), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    _draw_long_tail(figure.add_axes((0.06, 0.1, 0.4, 0.82)), ranked_counts_C)
    axes = figure.add_axes((0.52, 0.06, 0.46, 0.88))
    axes.imshow(sheet)
    axes.set(xticks=[], yticks=(np.arange(len(names)) + 0.5) * _TILE, yticklabels=names)
    axes.set_title("First images of some identities")
    file = io.BytesIO()
    # Without the version of matplotlib the same figure gives the same bytes.
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _draw_long_tail(axes: Axes, ranked_counts_C: NDArray[np.int64]) -> None:
    axes.plot(np.arange(1, len(ranked_counts_C) + 1), ranked_counts_C, color="#0072B2", drawstyle="steps-mid")
    axes.set(xscale="log", yscale="log", title="Long tail")
    axes.set(xlabel="Rank of the identity", ylabel="Images of the identity")
    axes.grid(color="#E3E3E3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
