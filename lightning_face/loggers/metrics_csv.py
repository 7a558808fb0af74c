"""`metrics.csv` in the run's folder."""

import csv
import errno
import io
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

from lightning_face import attempts
from lightning_face.files import write_atomically

METRICS_FILE = "metrics.csv"


class CsvLogger(Logger):
    """Appends one row per call to `metrics.csv`: step, epoch, and a column for each metric ever logged.

    Lightning's own CSVLogger deletes the file of an earlier attempt; this one goes on with it.

    Args:
        run_dir: folder of the file.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.path = run_dir / METRICS_FILE
        self._columns: list[str] | None = None
        self._waiting: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Lightning asks for it."""
        return "csv"

    @property
    def version(self) -> str:
        """Lightning asks for it."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: options are in `config.yaml`."""

    @rank_zero_only
    def cut_after(self, step: int) -> None:
        """Drop the rows past a step: the run goes on from there and will write them again."""
        columns, rows = self._read()
        if columns:
            self._write_all(columns, [row for row in rows if int(row["step"]) <= step])

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; those that cannot be written now wait for the next one."""
        if not attempts.is_latest(self.path.parent):
            return  # all ranks end at the next boundary between steps
        self._waiting.append({"step": step, **metrics})
        self._write_waiting()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Try again to write what waits."""
        if self._waiting and attempts.is_latest(self.path.parent):
            self._write_waiting()

    def _write_waiting(self) -> None:
        try:
            self._append(self._waiting)
        except OSError as error:
            rank_zero_warn(f"{self.path} cannot be written now ({error.strerror}); {len(self._waiting)} rows wait")
        else:
            self._waiting = []

    def _append(self, rows: list[dict[str, Any]]) -> None:
        """A new metric adds a column and writes the file anew, which happens a few times in a run."""
        columns = self._begin() if self._columns is None else self._columns
        new = dict.fromkeys(name for row in rows for name in row if name not in columns)
        if new:
            columns = [*columns, *new]
            self._write_all(columns, [*self._read()[1], *rows])
        else:
            _append_whole(self.path, _lines(columns, rows))
        self._columns = columns

    def _begin(self) -> list[str]:
        """The columns of an earlier attempt, whose file is written anew: a row must not run into half a last line."""
        columns, rows = self._read()
        if columns:
            self._write_all(columns, rows)
        return columns

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self.path.is_file():
            return [], []
        with self.path.open(newline="") as file:
            text = file.read()
        # A kill may leave half of the last line.
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        return list(reader.fieldnames or []), list(reader)

    def _write_all(self, columns: list[str], rows: list[dict[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        names = dict(zip(columns, columns, strict=True))
        write_atomically(self.path, _lines(columns, [names, *rows]))


def _lines(columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue().encode()


def _append_whole(path: Path, data: bytes) -> None:
    """Append all or nothing: a full disk takes the beginning."""
    with path.open("ab", buffering=0) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        try:
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(num_bytes)
            raise
