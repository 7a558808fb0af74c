"""Where metrics go: `metrics.csv` in the run's folder, and Weights & Biases. The only door to wandb."""

import csv
import errno
import io
import os
import secrets
import socket
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn

from lightning_face import attempts, signals
from lightning_face.files import write_atomically

METRICS_FILE = "metrics.csv"
WANDB_ID_FILE = "wandb_id.txt"


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


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases.

    Args:
        mode: `auto` is online if you are logged in and the server answers within 10 s, else offline, to be synced
            later; `disabled` for none.
        project: of the run.
        name: of the run; default: the name of its folder.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "lightning_face"
    name: str | None = None


def make_loggers(run_dir: Path, wandb: WandbConfig, config: dict[str, Any]) -> list[Logger]:
    """The loggers of a run; a run that goes on keeps its W&B id, and so its W&B run.

    Args:
        run_dir: folder of the run.
        wandb: options.
        config: options of the run, shown in W&B.
    """
    loggers: list[Logger] = [CsvLogger(run_dir)]
    if wandb.mode == "disabled":
        return loggers
    offline = wandb.mode == "offline" or (wandb.mode == "auto" and not wandb_answers())
    logger = _WandbLogger(
        project=wandb.project,
        name=wandb.name or run_dir.resolve().name,
        id=_wandb_id(run_dir),
        save_dir=run_dir,
        offline=offline,
        resume="allow",
        config=config,
    )
    if offline:
        rank_zero_info(f"W&B is offline; afterwards: wandb sync {run_dir}/wandb/offline-run-*")
    return [*loggers, logger]


class _WandbLogger(WandbLogger):
    """Goes on where W&B's process has ended: SLURM sends SIGTERM to it too, and what is left to do then is saving."""

    _has_ended = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Send a row, or say once that there is nobody any more who would."""
        try:
            super().log_metrics(metrics, step)
        except Exception as error:
            if not isinstance(error, ConnectionError) and not signals.received():
                raise
            if not self._has_ended:
                rank_zero_warn(
                    f"W&B's process has ended ({error!r}); the rows from here on are in {METRICS_FILE} alone"
                )
            self._has_ended = True


def show(loggers: list[Logger], plot: Path) -> None:
    """Send a plot of the run's folder to W&B, if the run is logged there."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(f"plots/{plot.stem}", [str(plot)])


def _is_first_process() -> bool:
    # Lightning's own launcher starts one process a node without a local rank yet.
    return bool(rank_zero_only(lambda: True)()) and os.environ.get("NODE_RANK", "0") == "0"


def _wandb_id(run_dir: Path) -> str:
    """The run's id, the same in every attempt; only rank 0 writes the run, the others never ask for one."""
    path = run_dir / WANDB_ID_FILE
    if not path.is_file() and _is_first_process():
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(path, secrets.token_hex(6).encode())
    return path.read_text().strip() if path.is_file() else "of-rank-0"


def wandb_answers() -> bool:
    """Whether somebody is logged in, and the server can be reached within 10 s."""
    import wandb

    if not wandb.login(prompt=False):
        # The attempt settled on online in the process, whatever a later `init` asks for.
        wandb.teardown()
        return False
    # A bare `wandb.Settings()` knows neither WANDB_BASE_URL nor the settings file of a self-hosted server.
    server = urlsplit(wandb.setup().settings.base_url)
    try:
        with socket.create_connection((server.hostname or "", server.port or 443), timeout=10):
            return True
    except OSError:
        return False
