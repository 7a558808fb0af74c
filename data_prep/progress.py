"""The only door to rich: progress with rate and time left (a line now and then without a terminal), and tables."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

SECONDS_BETWEEN_LINES = 20.0


class Show(ABC):
    """Told how many are done in all, it updates what the user sees.

    Args:
        total: how many there are to do; None if only the end will tell.
    """

    def __init__(self, total: int | None) -> None:
        self.total = total

    @abstractmethod
    def __call__(self, done: int) -> None:
        """Show that so many are done."""

    def skip(self, count: int) -> None:
        """There are fewer to do: an earlier run has done these."""
        if self.total is not None:
            self.total -= count


class _Bar(Show):
    def __init__(self, title: str, total: int | None, bars: Progress) -> None:
        super().__init__(total)
        self._bars, self._bar = bars, bars.add_task(title, total=total)

    def __call__(self, done: int) -> None:
        self._bars.update(self._bar, completed=done, total=self.total)


class _Lines(Show):
    """Prints a line at most every `SECONDS_BETWEEN_LINES`, so that a batch job's log shows life and stays short."""

    def __init__(self, title: str, total: int | None) -> None:
        super().__init__(total)
        self._title = title
        self._start_s = self._last_s = time.monotonic()

    def __call__(self, done: int) -> None:
        time_s = time.monotonic()
        if time_s - self._last_s < SECONDS_BETWEEN_LINES:
            return
        self._last_s = time_s
        rate = done / (time_s - self._start_s)
        total = "" if self.total is None else f" of {self.total:,}"
        left = f", {(self.total - done) / rate:,.0f} s left" if self.total is not None and rate else ""
        Console(stderr=True).print(
            f"{self._title}: {done:,}{total}, {rate:,.0f}/s{left}", soft_wrap=True, highlight=False
        )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Show]:
    """Show progress on stderr while the block runs.

    Args:
        title: what is being done, e.g. "writing".
        total: how many there are to do; None if only the end will tell.

    Yields:
        What to call with the number done so far.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        yield _Bar(title, total, bars)


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
