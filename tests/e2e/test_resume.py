"""Promise P5 through the command line: killed at random steps and resumed, a run ends as if nothing had happened."""

import os
import random
import signal
import time

import pytest

from lightning_face.checkpoint.directory import describe
from tests.e2e.conftest import TIMEOUT_S, fit, log_of, started_fit
from tests.e2e.outcome import differences, final, losses
from tests.e2e.recorder import recorded_ids

STEPS = 32
SHARDED = ("--model.objective.softmax.placement=sharded", "--model.objective.center.placement=sharded")


def kill_after(config, run_dir, step, *arguments, number=signal.SIGKILL):
    """Start `fit` and signal all of its processes, as a scheduler does, once it has logged a step; its exit code."""
    metrics = run_dir / "metrics.csv"
    with started_fit(config, run_dir, *arguments) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while not (metrics.is_file() and losses(run_dir) and losses(run_dir)[-1][0] >= step):
            assert process.poll() is None, log_of(run_dir)
            assert time.monotonic() < deadline, f"step {step} was not reached"
            time.sleep(0.02)
        os.killpg(process.pid, number)
        return process.wait(timeout=TIMEOUT_S)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "num_ranks, head, order",
    # ElasticArcFace draws a margin for each sample.
    [(1, "null", ()), (2, "ElasticArcFace", ("--data.images_per_identity", 3, "--data.tail_weight", 0.5))],
    ids=["lanes", "identities"],
)
def test_killed_and_preempted_ends_with_the_same_bits(tiny_config, tmp_path, num_ranks, head, order):
    ranks = ("--trainer.devices", num_ranks, "--model.objective.softmax.head", head, *order)
    fit(tiny_config, tmp_path / "straight", *ranks)
    expected = final(tmp_path / "straight")
    assert [step for step, _ in losses(tmp_path / "straight")] == list(range(STEPS))
    dice = random.Random(num_ranks)
    for workers in (0, 2):
        run_dir = tmp_path / f"killed-{workers}"
        options = (*ranks, "--data.num_workers", workers)
        killed, stopped = sorted(dice.sample(range(6, STEPS - 2), 2))
        kill_after(tiny_config, run_dir, killed, *options)
        assert kill_after(tiny_config, run_dir, stopped, *options, number=signal.SIGTERM) == 75, log_of(run_dir)
        last = describe(run_dir / "checkpoints" / "last").step
        assert last == losses(run_dir)[-1][0] + 1, "a step was lost"
        fit(tiny_config, run_dir, *options)
        assert differences(final(run_dir), expected) == []
        assert losses(run_dir) == losses(tmp_path / "straight"), "the CSV has gaps, repeats or other values"


@pytest.mark.timeout(600)
def test_killed_with_everything_that_has_state(tiny_config, tmp_path):
    """BatchNorm, dropout, accumulation, sharded tables, sampled classes, three rows per class, a head with a learned
    bias, momentum in bfloat16, MML in each third step, an average of the network, triplets mined where a checkpoint is
    taken, validation inside an epoch and another number of workers.
    """
    options = ("--trainer.devices", 2, "--trainer.accumulate_grad_batches", 2, "--trainer.val_check_interval", 10)
    options += ("--model.backbone.neck", "flatten", "--model.backbone.dropout", 0.3, "--trainer.max_epochs", 1)
    options += (*SHARDED, "--model.objective.softmax.sample_rate", 0.5, "--model.objective.softmax.rows_per_class", 3)
    options += ("--model.objective.softmax.optimizer.state_dtype", "bfloat16")
    options += ("--model.objective.softmax.head", "UniFace")
    options += ("--model.average_decay", 0.8)
    options += ("--model.objective.mml.mode", "B", "--model.objective.mml.center_rate", 1e-3)
    options += ("--model.objective.mml.scope", "all", "--model.objective.mml.every_n_steps", 3)
    options += ("--model.objective.triplet", "{mining: offline}", "--data.mine_every_n_steps", 5)
    fit(tiny_config, tmp_path / "straight", *options)
    kill_after(tiny_config, tmp_path / "killed", 7, *options)
    fit(tiny_config, tmp_path / "killed", *options, "--data.num_workers", 1)
    assert differences(final(tmp_path / "killed"), final(tmp_path / "straight")) == []
    assert len(final(tmp_path / "killed")["tables"]) == 2


@pytest.mark.timeout(900)
def test_resumed_on_another_number_of_processes(tiny_config, tmp_path):
    """2 -> 1, 1 -> 2 and 2 -> 3 processes: the same samples in the same steps, and losses within 1e-4."""
    # The default decay would end with the first half of the run.
    options = ("--model.schedule.decay", "constant", "--trainer.callbacks+", "tests.e2e.recorder.RecordIds")
    fit(tiny_config, tmp_path / "straight", *options, "--trainer.max_steps", 18)
    expected = dict(losses(tmp_path / "straight"))
    expected_ids = {step: ids[1, 0] for step, ids in recorded_ids(tmp_path / "straight").items()}
    assert len(expected_ids) == 18
    for before, after, placement in ((2, 1, ()), (1, 2, SHARDED), (2, 3, SHARDED)):
        run_dir = tmp_path / f"{before}-to-{after}"
        fit(tiny_config, run_dir, "--trainer.devices", before, "--trainer.max_steps", 10, *options, *placement)
        fit(tiny_config, run_dir, "--trainer.devices", after, "--trainer.max_steps", 18, *options, *placement)
        found = dict(losses(run_dir))
        assert list(found) == list(range(18))
        assert found == pytest.approx(expected, rel=1e-4)
        for number, (step, ids) in enumerate(sorted(recorded_ids(run_dir).items())):
            ranks = before if number < 10 else after
            assert [sample for rank in range(ranks) for sample in ids[ranks, rank]] == expected_ids[step]
        assert number == 17
