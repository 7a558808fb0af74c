"""The only door to rich: progress with rate and time left (a line now and then without a terminal), and tables."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

SECONDS_BETWEEN_LINES = 20.0

Show = Callable[[int], None]
"""Told how many are done in all, it updates what the user sees."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Show]:
    """Show progress on stderr while the block runs.

    Args:
        title: what is being done, e.g. "writing".
        total: how many there are.
        done: how many were done before, by an earlier run.

    Yields:
        A function to call with the number done so far, those of the earlier run included.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title, total, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(title, total=total, completed=done)
        yield lambda now: bars.update(bar, completed=now)


class _Lines:
    """Prints a line at most every `SECONDS_BETWEEN_LINES`, so that a batch job's log shows life and stays short."""

    def __init__(self, title: str, total: int, done: int) -> None:
        self._title, self._total, self._done_before = title, total, done
        self._start_s = self._last_s = time.monotonic()

    def __call__(self, now: int) -> None:
        time_s = time.monotonic()
        if time_s - self._last_s < SECONDS_BETWEEN_LINES:
            return
        self._last_s = time_s
        rate = (now - self._done_before) / (time_s - self._start_s)
        left = f", {(self._total - now) / rate:,.0f} s left" if rate else ""
        Console(stderr=True).print(
            f"{self._title}: {now:,} of {self._total:,}, {rate:,.0f}/s{left}", soft_wrap=True, highlight=False
        )


def say(line: str) -> None:
    """Print one line of result on stdout, not wrapped and not interpreted."""
    Console().print(line, soft_wrap=True, highlight=False, markup=False)


def show_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout, under its title (rich would break a long title to the width of a narrow table)."""
    say(title)
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)
