"""Lightning's counters, put where the data stands."""

import copy
from typing import Any

import pytest
from pytorch_lightning import Trainer

from lightning_face.checkpoint.progress import rebuilt_fit_loop

EVENTS = ("ready", "started", "processed", "completed")


def fit_loop_state() -> dict[str, Any]:
    """As Lightning saves it, in a loop that has stepped 40 times."""
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    trainer.fit_loop.epoch_loop._batches_that_stepped = 40
    return trainer.fit_loop.state_dict()


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    return fit_loop_state()


@pytest.mark.parametrize(("step_in_epoch", "accumulation", "micro_batches"), [(3, 1, 3), (3, 4, 12), (1, 2, 2)])
def test_in_the_middle_of_an_epoch(
    saved: dict[str, Any], step_in_epoch: int, accumulation: int, micro_batches: int
) -> None:
    state = rebuilt_fit_loop(saved, epoch=2, step_in_epoch=step_in_epoch, steps_per_epoch=10, accumulation=accumulation)
    epochs = {"ready": 3, "started": 3, "processed": 2, "completed": 2}
    assert state["epoch_progress"] == {"total": epochs, "current": epochs}
    batches = dict.fromkeys(EVENTS, micro_batches)
    total = {event: 2 * 10 * accumulation + count for event, count in batches.items()}
    assert state["epoch_loop.batch_progress"] == {"total": total, "current": batches, "is_last_batch": False}


def test_before_an_epoch(saved: dict[str, Any]) -> None:
    state = rebuilt_fit_loop(saved, epoch=2, step_in_epoch=0, steps_per_epoch=10, accumulation=3)
    assert state["epoch_progress"]["current"] == dict.fromkeys(EVENTS, 2)
    assert state["epoch_loop.batch_progress"]["current"] == dict.fromkeys(EVENTS, 0)


def test_nothing_is_pending_and_the_steps_made_are_kept(saved: dict[str, Any]) -> None:
    before = copy.deepcopy(saved)
    state = rebuilt_fit_loop(saved, epoch=1, step_in_epoch=2, steps_per_epoch=10, accumulation=1)
    assert state["epoch_loop.val_loop.batch_progress"]["current"] == dict.fromkeys(EVENTS, 0)
    assert state["epoch_loop.state_dict"]["_batches_that_stepped"] == 40
    assert saved == before


def test_lightning_takes_the_state_it_knows_all_names(saved: dict[str, Any]) -> None:
    state = rebuilt_fit_loop(saved, epoch=5, step_in_epoch=7, steps_per_epoch=10, accumulation=2)
    assert set(state) == set(saved)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    trainer.fit_loop.load_state_dict(state)
    assert trainer.current_epoch == 5
    assert trainer.fit_loop.epoch_loop.batch_progress.current.ready == 14
    assert trainer.fit_loop.epoch_loop.total_batch_idx == 5 * 10 * 2 + 13
