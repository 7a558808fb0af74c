"""Nodes and devices as SLURM has given them: what a job asks for is said once, to sbatch or srun."""

import os
import re
from typing import Any, NamedTuple

from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from lightning_face.errors import ConfigError


class Size(NamedTuple):
    """Nodes of a job step, and its tasks on each of them: one for each device."""

    nodes: int
    tasks_per_node: int


def size_of_step() -> Size | None:
    """How many ranks SLURM has started; None where it has not, or where another launcher runs inside of its job.

    Raises:
        ConfigError: ranks would wait for others that are never started, or cannot tell which of them they are.
    """
    if TorchElasticEnvironment.detect() or "SLURM_NTASKS" not in os.environ:
        return None
    if SLURMEnvironment.job_name() in ("bash", "interactive"):
        return None  # as Lightning has it: processes of a shell are nobody's ranks
    tasks = int(os.environ["SLURM_NTASKS"])
    if "SLURM_STEP_ID" not in os.environ and tasks > 1:
        raise ConfigError(
            f"the job has {tasks} tasks, but this is the only one that runs: start it with `srun python -m"
            " lightning_face ...`, or submit slurm/train.sbatch"
        )
    layout = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1")
    same_on_each = re.fullmatch(r"(\d+)(\(x\d+\))?", layout)
    if same_on_each is None or (tasks > 1 and os.environ.get("SLURM_NTASKS_PER_NODE") != same_on_each[1]):
        raise ConfigError(
            f"each node must have the same number of tasks, and know it, but srun was given no --ntasks-per-node that"
            f" fits its {tasks} tasks ({layout}): give --nodes and --ntasks-per-node instead of --ntasks"
        )
    return Size(int(os.environ.get("SLURM_STEP_NUM_NODES", "1")), int(same_on_each[1]))


def follow_slurm(options: dict[str, Any], num_visible_gpus: int | None) -> dict[str, Any]:
    """The trainer's options with the nodes and devices of the job step, where they leave them open.

    Args:
        options: of the trainer. One node and `auto` devices, Lightning's defaults, are open.
        num_visible_gpus: that this rank sees; None for a run on CPUs.

    Raises:
        ConfigError: an option contradicts what SLURM has started, or each task sees a GPU of its own only.
    """
    size = size_of_step()
    if size is None:
        return options
    nodes, tasks = size
    num_nodes, devices = options.get("num_nodes", 1), options.get("devices", "auto")
    if num_nodes not in (1, nodes) or _number_of(devices) not in (None, tasks):
        raise ConfigError(
            f"trainer.num_nodes {num_nodes} and trainer.devices {devices} contradict SLURM, which has started {tasks}"
            f" task(s) on each of {nodes} node(s): leave them out, or change --nodes and --ntasks-per-node"
        )
    if num_visible_gpus is not None and num_visible_gpus < tasks:
        raise ConfigError(
            f"SLURM has started {tasks} tasks on each node, but this one sees {num_visible_gpus} GPU(s): ask for"
            f" --gpus-per-node={tasks}, not for GPUs per task"
        )
    return {**options, "num_nodes": nodes, "devices": tasks}


def _number_of(devices: Any) -> int | None:
    """How many devices an option of Lightning's names; None for as many as there are."""
    if isinstance(devices, str) and devices not in ("auto", "-1"):
        devices = int(devices) if devices.isdigit() else devices.strip(",").split(",")
    if isinstance(devices, list | tuple):
        return len(devices)
    return None if devices in ("auto", "-1", -1) else int(devices)
