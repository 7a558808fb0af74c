"""The position in the order: what is saved, and with what it may be resumed."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightning_face.data.order import LaneOrder
from lightning_face.data.position import Position
from lightning_face.errors import CheckpointError

SHARDS = (100, 60, 96)


def position(batch: int = 16, lanes: int = 8, **changes: Any) -> Position:
    order = LaneOrder(SHARDS, batch, seed=3, lanes=lanes, window=5)
    return replace(Position.start_of(order, "abc"), **changes)


def test_starts_at_the_first_step() -> None:
    start = position()
    assert (start.epoch, start.consumed, start.step_in_epoch) == (0, 0, 0)


@pytest.mark.parametrize("place", [{"epoch": 0, "consumed": 48}, {"epoch": 7, "consumed": 0}], ids=str)
def test_resumes_where_it_was_saved(place: dict[str, int]) -> None:
    saved = json.loads(json.dumps(position(**place).state()))
    resumed = position().resumed_from(saved)
    assert resumed == position(**place)
    assert resumed.step_in_epoch == place["consumed"] // 16


def test_state_names_no_rank() -> None:
    assert position(consumed=32).state() == {
        "version": 1,
        "seed": 3,
        "epoch": 0,
        "consumed": 32,
        "global_batch_size": 16,
        "order": {"kind": "lanes", "lanes": 8, "window": 5},
        "manifest_hash": "abc",
    }


@pytest.mark.parametrize(("before", "now", "consumed"), [(16, 8, 48), (8, 16, 48), (16, 24, 48), (24, 16, 0)])
def test_batch_size_may_change_where_lanes_divide_both(before: int, now: int, consumed: int) -> None:
    resumed = position(now).resumed_from(position(before, epoch=2, consumed=consumed).state())
    assert (resumed.epoch, resumed.consumed, resumed.global_batch_size) == (2, consumed, now)
    assert resumed.step_in_epoch == consumed // now


@pytest.mark.parametrize(("now", "expected"), [(16, (1, 0)), (80, (1, 0)), (8, (0, 240))])
def test_epoch_without_a_whole_step_left_is_over(now: int, expected: tuple[int, int]) -> None:
    """Of 250 samples, 240 are trained: a step of 8 is left, none of 16 or 80."""
    shards, order = (150, 100), {"seed": 3, "lanes": 8, "window": 5}
    former, own = (Position.start_of(LaneOrder(shards, batch, **order), "abc") for batch in (8, now))
    resumed = own.resumed_from(replace(former, consumed=240).state())
    assert (resumed.epoch, resumed.consumed) == expected


@pytest.mark.parametrize(("before", "now"), [(16, 8), (8, 16), (16, 48), (24, 16)])
def test_changed_batch_size_goes_on_with_the_same_samples(before: int, now: int) -> None:
    """Where a change is allowed, the samples trained are the same with either size: none is repeated or skipped."""
    orders = [LaneOrder(SHARDS, batch, seed=3, lanes=8, window=5) for batch in (before, now)]
    trained = [
        order.sample_ids(1, 0, 48 // order.global_batch_size, range(order.global_batch_size)) for order in orders
    ]
    assert np.array_equal(np.sort(trained[0].ravel()), np.sort(trained[1].ravel()))


@pytest.mark.parametrize(
    ("before", "now", "consumed"),
    [(16, 12, 48), (12, 16, 48), (16, 32, 48)],
    ids=["lanes do not divide the new", "lanes do not divide the former", "half a new step"],
)
def test_other_batch_sizes_are_refused(before: int, now: int, consumed: int) -> None:
    line = refusal(position(now), position(before, consumed=consumed).state())
    assert f"global_batch_size: {before} -> {now} (it may change only where 8 lanes divide both" in line
    assert "the 48 samples trained" in line


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"seed": 4}, "seed: 4 -> 3"),
        ({"manifest_hash": "xyz"}, "manifest_hash: xyz -> abc"),
        ({"version": 2}, "version: 2 -> 1"),
        ({"order": {"kind": "lanes", "lanes": 4, "window": 5}}, "'lanes': 4, 'window': 5} -> {"),
        ({"order": {"kind": "lanes", "lanes": 8, "window": 9}}, "'window': 9} -> {"),
        ({"order": {"kind": "global"}}, "{'kind': 'global'} -> {'kind': 'lanes'"),
    ],
    ids=str,
)
def test_other_orders_are_refused(change: dict[str, Any], shown: str) -> None:
    line = refusal(position(), {**position(consumed=32).state(), **change})
    assert shown in line
    assert "another --run_dir" in line


def test_every_difference_is_shown() -> None:
    line = refusal(position(), {**position(12, consumed=36).state(), "seed": 9, "manifest_hash": "xyz"})
    assert all(shown in line for shown in ("seed: 9 -> 3", "manifest_hash: xyz -> abc", "global_batch_size: 12 -> 16"))


def refusal(own: Position, saved: dict[str, Any]) -> str:
    with pytest.raises(CheckpointError) as error:
        own.resumed_from(saved)
    assert "\n" not in str(error.value)
    return str(error.value)
