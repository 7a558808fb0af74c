"""Jobs that train with slurm/train.sbatch, on a real SLURM, and what happens to them."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import fit
from tests.e2e.recorder import recorded_ids
from tests.e2e.test_resume import STEPS, differences, final, losses
from tests.slurm.hold import go_on, is_held

pytestmark = pytest.mark.timeout(1800)

RECORDED = ("--trainer.callbacks+", "tests.e2e.recorder.RecordIds")


@pytest.fixture(scope="module")
def local(config, tmp_path_factory):
    """The run on two processes of this machine, never interrupted."""
    run_dir = tmp_path_factory.mktemp("local") / "run"
    fit(config, run_dir, "--trainer.devices", 2, *RECORDED)
    assert len(losses(run_dir)) == STEPS
    return run_dir


def train(cluster, config, run_dir, *arguments, nodes, moments=()):
    """Submit a run of one rank a node that is held at some moments."""
    run_dir.mkdir()
    held = ("--trainer.callbacks+", "tests.slurm.hold.Hold", "--trainer.callbacks.moments", list(moments))
    options = ("slurm/train.sbatch", config, "--run_dir", run_dir, *RECORDED, *held, *arguments)
    return cluster.submit(run_dir.with_suffix(".log"), f"--nodes={nodes}", *options)


def ended_as(run_dir, expected):
    """Whether a run has the bits and the rows of another."""
    return differences(final(run_dir), final(expected)) == [] and losses(run_dir) == losses(expected)


def processes(job, rank):
    """Processes of a rank in the job's step."""
    variables = {f"SLURM_JOB_ID={job.number}".encode(), f"SLURM_PROCID={rank}".encode(), b"SLURM_STEP_ID=0"}
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variables <= set(path.read_bytes().split(b"\0")):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def notes_signals(job, rank):
    """Whether Python has come as far as to note SIGUSR1, which would end it before."""
    for process in processes(job, rank):
        with suppress(OSError):  # it ended meanwhile
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            fields = dict(line.split(":\t", 1) for line in lines)
            if int(fields["SigCgt"], 16) >> (signal.SIGUSR1 - 1) & 1:
                return True
    return False


def test_everything_that_ends_an_attempt(cluster, config, local, tmp_path):
    """A signal before training, the time limit in a validation, a signal to the step during a save, another job, and a
    rank that dies: six attempts on two nodes, which end as one on two processes of this machine, and are evaluated.
    Meanwhile doctor looks at the nodes.
    """
    run_dir, moments = tmp_path / "run", ("validation-16", "save-20", "step-26", "step-31")
    options = ("--nodes=2", "slurm/doctor.sbatch", config, "--run_dir", tmp_path / "other")
    looked_at = cluster.submit(tmp_path / "doctor.log", *options)
    job = train(cluster, config, run_dir, "--wandb.mode=offline", nodes=2, moments=moments)

    def is_requeued(times):
        return lambda: job.field("Restarts") == str(times) and job.field("JobState") in ("PENDING", "RUNNING")

    job.wait_until("both ranks note signals", lambda: notes_signals(job, 0) and notes_signals(job, 1))
    cluster.run("scancel", "--batch", "--signal=USR1", job.number)
    job.wait_until("requeued before training", is_requeued(1))
    assert not (run_dir / "checkpoints").exists()

    job.wait_until("in a validation", lambda: is_held(run_dir, "validation-16"))
    _, minutes, _ = job.field("RunTime").split(":")
    near, far = int(minutes) + 4, 60  # minutes; the signal comes five before
    cluster.run("scontrol", "update", f"JobId={job.number}", f"TimeLimit={near}")
    job.wait_until("requeued at its time limit", is_requeued(2))
    cluster.run("scontrol", "update", f"JobId={job.number}", f"TimeLimit={far}")
    go_on(run_dir, "validation-16")

    job.wait_until("during a save", lambda: is_held(run_dir, "save-20", ranks=(0,)))
    cluster.run("scancel", "--signal=USR1", job.number)
    job.wait_until("requeued during a save", is_requeued(3))
    go_on(run_dir, "save-20")

    job.wait_until("at step 26", lambda: is_held(run_dir, "step-26"))
    cluster.submit(tmp_path / "urgent.log", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=true")
    job.wait_until("requeued for another job", is_requeued(4))
    go_on(run_dir, "step-26")

    job.wait_until("at step 31", lambda: is_held(run_dir, "step-31"))
    last = run_dir / "checkpoints" / "last"
    job.wait_until("a newer checkpoint is there", lambda: last.readlink().name == "step-00000030")
    for process in processes(job, 1):
        os.kill(process, signal.SIGKILL)
    go_on(run_dir, "step-31")  # to where the other rank misses it
    job.wait_until("requeued after a rank died", is_requeued(5))

    job.wait_until_completed()
    evaluated = cluster.submit(tmp_path / "evaluate.log", "slurm/evaluate.sbatch", run_dir)
    assert ended_as(run_dir, local)
    assert len((run_dir / "crashes.txt").read_text().splitlines()) == 1, job.printed()
    assert len({path.name.rpartition("-")[2] for path in (run_dir / "wandb").glob("offline-run-*")}) == 1
    looked_at.wait_until_completed()
    assert "2 ranks in " in (found := looked_at.log.read_text()) and "at step 0" in found
    evaluated.wait_until_completed()
    assert json.loads((run_dir / "result.json").read_text())["verification"]["held_out"]["auc"] > 0.5


def test_lost_node(cluster, config, local, tmp_path):
    """What was two ranks is one from then on, and sees the same samples."""
    run_dir = tmp_path / "run"
    job = train(cluster, config, run_dir, nodes="1-2", moments=("step-7",))
    job.wait_until("at step 7", lambda: is_held(run_dir, "step-7"))
    cluster.mini_cluster("kill", "n2")
    go_on(run_dir, "step-7")
    job.wait_until_completed()
    cluster.mini_cluster("start", "n2")
    assert job.field("NodeList") == "n1"
    found, expected = recorded_ids(run_dir), recorded_ids(local)
    assert list(found) == list(expected)
    for number, (step, ranks) in enumerate(sorted(found.items())):
        assert ids_of(ranks, 2 if number < 5 else 1) == ids_of(expected[step], 2)
    assert dict(losses(run_dir)) == pytest.approx(dict(losses(local)), rel=1e-4)


def ids_of(ranks, num_ranks):
    """The samples of a step, as a run of so many ranks saw them."""
    return [sample for rank in range(num_ranks) for sample in ranks[num_ranks, rank]]
