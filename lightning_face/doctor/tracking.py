"""Whether W&B will have the run."""

from lightning_face.distributed.agreement import gather_objects, on_every_rank
from lightning_face.distributed.world import rank
from lightning_face.doctor.finding import Finding
from lightning_face.loggers import WandbConfig, wandb_answers


def check_wandb(config: WandbConfig) -> Finding:
    """Rank 0, which logs, asks for the server; every rank calls."""
    if config.mode in ("disabled", "offline"):
        return Finding("ok", config.mode)
    if gather_objects(on_every_rank(lambda: rank() == 0 and wandb_answers()))[0]:
        return Finding("ok", f"online, project {config.project}")
    figure = "nobody is logged in, or the server does not answer within 10 s"
    if config.mode == "online":
        return Finding("fails", figure, "run `wandb login` on the node of rank 0, or set wandb.mode to offline")
    return Finding(
        "warning", f"offline: {figure}", "afterwards `wandb sync`, or run `wandb login` where it is reachable"
    )
