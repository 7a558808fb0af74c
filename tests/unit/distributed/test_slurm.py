"""What SLURM tells a rank in its environment, as recorded from srun 22.05, and what follows for the trainer."""

import os

import pytest

from lightning_face.distributed.slurm import Size, follow_slurm, size_of_step
from lightning_face.errors import ConfigError

TWO_NODES_OF_TWO = {
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


@pytest.fixture
def started_by(monkeypatch):
    """Sets SLURM's variables, these and no others."""

    def set_variables(variables):
        for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def test_size_is_that_of_the_step(started_by):
    started_by(TWO_NODES_OF_TWO)
    assert size_of_step() == Size(nodes=2, tasks_per_node=2)
    one = {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
    started_by(TWO_NODES_OF_TWO | one | {"SLURM_NTASKS_PER_NODE": "4"})
    assert size_of_step() == Size(nodes=1, tasks_per_node=1)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_JOB_ID": "1"},  # a batch job that starts ranks in its own way
        TWO_NODES_OF_TWO | {"SLURM_JOB_NAME": "bash"},
        TWO_NODES_OF_TWO | {"TORCHELASTIC_RUN_ID": "1"},
    ],
)
def test_others_start_the_ranks(started_by, variables):
    started_by(variables)
    assert size_of_step() is None
    options = {"num_nodes": 1, "devices": 3}
    assert follow_slurm(options, None) == options


@pytest.mark.parametrize("devices", ["auto", -1, "-1", 2, "2", [0, 1], "0,1"])
def test_options_follow(started_by, devices):
    started_by(TWO_NODES_OF_TWO)
    expected = {"num_nodes": 2, "devices": 2, "precision": "32-true"}
    assert follow_slurm({"num_nodes": 1, "devices": devices, "precision": "32-true"}, None) == expected
    assert follow_slurm({"num_nodes": 2, "devices": devices, "precision": "32-true"}, 2) == expected


@pytest.mark.parametrize(
    "options",
    [{"num_nodes": 3}, {"devices": 1}, {"devices": "4"}, {"devices": [0]}, {"devices": "0,"}],
)
def test_contradictions_are_refused(started_by, options):
    started_by(TWO_NODES_OF_TWO)
    with pytest.raises(ConfigError, match=r"has started 2 task.s. on each of 2 node.s.: leave them out"):
        follow_slurm(options, None)


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "2,1"}, "give --nodes and --ntasks-per-node"),
        ({"SLURM_NTASKS_PER_NODE": "4"}, "give --nodes and --ntasks-per-node"),
    ],
)
def test_steps_whose_ranks_would_not_find_one_another(started_by, variables, message):
    started_by(TWO_NODES_OF_TWO | variables)
    with pytest.raises(ConfigError, match=message):
        size_of_step()


def test_started_without_srun(started_by):
    batch_script = {name: value for name, value in TWO_NODES_OF_TWO.items() if "STEP" not in name}
    started_by(batch_script)
    with pytest.raises(ConfigError, match="start it with `srun"):
        size_of_step()


def test_a_gpu_for_each_task_alone(started_by):
    started_by(TWO_NODES_OF_TWO)
    with pytest.raises(ConfigError, match="--gpus-per-node=2"):
        follow_slurm({}, 1)
