"""What slurm/train.sbatch makes of the end of an attempt: on a real SLURM, with a program in place of the training."""

import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")

ENDS = {
    "done": ("0", "COMPLETED", "0:0", 0),
    "bad input": ("2", "FAILED", "2:0", 0),
    "not finite": ("3", "FAILED", "3:0", 0),
    "superseded": ("4", "FAILED", "4:0", 0),
    "a crash after a checkpoint": ("1+_0", "COMPLETED", "0:0", 1),
    "a crash before any": ("1", "FAILED", "1:0", 0),
    "crashes at the same step": ("1+_1", "FAILED", "1:0", 1),
    "two crashes too many": ("137+_137+_137+", "FAILED", "137:0", 2),
    "saved": ("75_0", "COMPLETED", "0:0", 1),
    "signalled before Python was there": ("138_143+_0", "COMPLETED", "0:0", 2),
    "no step between two signals": ("75_75_0", "FAILED", "2:0", 2),
}
"""By plan: the state that the job ends in, its exit code, and how often it was requeued."""


@pytest.fixture(scope="module")
def submit(cluster, tmp_path_factory):
    """Submits a job with a plan; returns it and its run folder."""
    folder = tmp_path_factory.mktemp("programs")
    as_program(folder / "python", f'exec {sys.executable} {PROGRAM} "$@"')

    def submit(plan, *sbatch, path=folder):
        run_dir = tmp_path_factory.mktemp("planned") / "run"
        variables = f"--export=ALL,PLAN={plan},MAX_CRASHES=2,MAX_STARTS=2,PATH={path}:{folder}:/usr/bin:/bin"
        arguments = ("configs/quickstart.yaml", "--seed_everything", "%a", "--run_dir", run_dir)
        options = (variables, *sbatch)
        return cluster.submit(run_dir.with_suffix(".log"), *options, "slurm/train.sbatch", *arguments), run_dir

    return submit


def as_program(path, line):
    """Write a shell script that can be started."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_how_attempts_end(submit):
    jobs = {name: submit(plan)[0] for name, (plan, *_) in ENDS.items()}
    found = {name: job.wait_until_over() for name, job in jobs.items()}
    assert found == {name: (state, code, str(restarts)) for name, (_, state, code, restarts) in ENDS.items()}


def test_signals(cluster, submit, tmp_path):
    told, cancelled, in_full, refused = (submit("wait_0", *options) for options in ((), (), (), ("--no-requeue",)))
    # While the script looks for the checkpoint, before there is a step.
    once = f'mkdir {tmp_path}/sent 2>/dev/null && kill -USR1 "$SLURM_TASK_PID"'
    as_program(tmp_path / "readlink", f'{once}; exec /usr/bin/readlink "$@"')
    early, early_dir = submit("2_0", path=tmp_path)
    for job, run_dir in (told, cancelled, in_full, refused):
        job.wait_until("it runs", lambda run_dir=run_dir: (run_dir / "arguments-0").exists())
    cluster.run("scancel", "--batch", "--signal=USR1", told[0].number)
    cluster.run("scancel", "--signal=USR1", refused[0].number)
    cluster.run("scancel", cancelled[0].number)
    cluster.run("scancel", "--full", "--signal=TERM", in_full[0].number)
    assert told[0].wait_until_over() == ("COMPLETED", "0:0", "1")
    assert refused[0].wait_until_over() == ("FAILED", "75:0", "0")
    state, _, restarts = cancelled[0].wait_until_over()
    assert (state, restarts) == ("CANCELLED", "0")
    assert all((run_dir / "saved").exists() for _, run_dir in (told, cancelled, refused))
    # It reaches srun, too, which kills the ranks; they may be faster.
    state, code, restarts = in_full[0].wait_until_over()
    assert (state, restarts) == ("FAILED", "0") and code in ("137:0", "75:0")
    assert early.wait_until_over() == ("COMPLETED", "0:0", "1")
    assert not (early_dir / "arguments-0").exists()


def test_tasks_of_an_array_have_folders_and_options_of_their_own(cluster, submit, tmp_path):
    array, run_dir = submit("0", "--array=3-4")
    after = cluster.submit(tmp_path / "after.log", f"--dependency=afterok:{array.number}", "--wrap=true")
    after.wait_until_completed()
    for task in (3, 4):
        arguments = (run_dir / f"{task}" / "arguments-0").read_text()
        assert f"--seed_everything {task} " in arguments and arguments.endswith(f"--run_dir {run_dir}/{task}")


def test_a_rank_for_each_gpu_and_its_share_of_the_cpus(submit):
    job, _ = submit("0", "--nodes=1-2", "--gpus-per-node=2", "--cpus-per-gpu=3")
    assert job.wait_until_over() == ("COMPLETED", "0:0", "0")
    # The first line is the script's.
    of_ranks = sorted(job.printed().splitlines()[1:])
    assert of_ranks == [f"{rank}: rank {rank} of 4, 3 CPUs, GPUs 0,1" for rank in range(4)]
