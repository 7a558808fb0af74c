"""Tables of text in Markdown."""

from collections.abc import Sequence
from typing import NamedTuple


class Sheet(NamedTuple):
    """A table of text: the first column names things, the others are numbers."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def markdown(report: Sequence[Sheet], legend: str) -> str:
    """For the terminal and for docs/benchmarks.md."""
    return "\n\n".join([*(_table(sheet) for sheet in report if sheet.rows), legend]) + "\n"


def _table(sheet: Sheet) -> str:
    widths = [max(3, *map(len, column)) for column in zip(sheet.header, *sheet.rows, strict=True)]
    align = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    cells = [
        [place(cell, width) for place, cell, width in zip(align, row, widths, strict=True)]
        for row in (sheet.header, rule, *sheet.rows)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
