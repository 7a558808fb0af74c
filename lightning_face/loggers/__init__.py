"""Where metrics go: `metrics.csv` in the run's folder, and Weights & Biases."""

from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_face.loggers.metrics_csv import METRICS_FILE, CsvLogger
from lightning_face.loggers.wandb_run import LastingWandbLogger, WandbConfig, show, wandb_answers, wandb_id

__all__ = ["METRICS_FILE", "CsvLogger", "WandbConfig", "make_loggers", "show", "wandb_answers"]


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
    logger = LastingWandbLogger(
        project=wandb.project,
        name=wandb.name or run_dir.resolve().name,
        id=wandb_id(run_dir),
        save_dir=run_dir,
        offline=offline,
        resume="allow",
        config=config,
    )
    if offline:
        rank_zero_info(f"W&B is offline; afterwards: wandb sync {run_dir}/wandb/offline-run-*")
    return [*loggers, logger]
