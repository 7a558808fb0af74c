"""A run in Weights & Biases. The only door to wandb."""

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only, rank_zero_warn

from lightning_face import signals
from lightning_face.files import write_atomically
from lightning_face.loggers.metrics_csv import METRICS_FILE

WANDB_ID_FILE = "wandb_id.txt"


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


class LastingWandbLogger(WandbLogger):
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


def wandb_id(run_dir: Path) -> str:
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
