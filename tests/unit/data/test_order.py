"""The order of data is a pure function (promise P4)."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightning_face.data.order import Ids, LaneOrder, slots_of
from lightning_face.errors import ConfigError
from lightning_face.hashing import hash64, permutation

PROPERTY = settings(max_examples=60, deadline=None)


@st.composite
def orders(draw: st.DrawFn) -> LaneOrder:
    shard_samples = tuple(draw(st.lists(st.integers(0, 40), min_size=1, max_size=8)))
    assume(sum(shard_samples) > 0)
    batch = draw(st.integers(1, min(sum(shard_samples), 48)))
    return LaneOrder(
        shard_samples, batch, draw(st.integers(0, 2**40)), draw(st.integers(1, 16)), draw(st.integers(0, 20))
    )


def epoch_of(order: LaneOrder, epoch: int) -> Ids:
    """Every sample of an epoch, (steps, G)."""
    return order.sample_ids(epoch, 0, order.steps_per_epoch, range(order.global_batch_size))


def epoch_by_the_book(order: LaneOrder, epoch: int) -> list[list[int]]:
    """The rule of docs/design.md in lists: permute shards, concatenate, rotate, cut lanes, shuffle windows, deal."""
    sizes, batch = order.shard_samples, order.global_batch_size
    first_ids = [sum(sizes[:shard]) for shard in range(len(sizes))]
    line: list[int] = []
    for shard in permutation(len(sizes), order.seed, "shards", epoch):
        line += range(first_ids[shard], first_ids[shard] + sizes[shard])
    offset = int(hash64(order.seed, "rotate", epoch)) % len(line)
    line = line[offset:] + line[:offset]
    num_lanes = math.gcd(order.lanes, batch)
    width = order.window * order.lanes // num_lanes or len(line)
    lanes = []
    for lane in range(num_lanes):
        rest = line[lane * len(line) // num_lanes : (lane + 1) * len(line) // num_lanes]
        shuffled: list[int] = []
        for number, start in enumerate(range(0, len(rest), width)):
            window = rest[start : start + width]
            shuffled += [window[place] for place in permutation(len(window), order.seed, "window", epoch, lane, number)]
        lanes.append(shuffled)
    share = batch // num_lanes
    return [
        [lanes[slot // share][step * share + slot % share] for slot in range(batch)]
        for step in range(len(line) // batch)
    ]


@PROPERTY
@given(orders(), st.integers(0, 5))
def test_equals_the_rule_written_out(order: LaneOrder, epoch: int) -> None:
    assert epoch_of(order, epoch).tolist() == epoch_by_the_book(order, epoch)


@PROPERTY
@given(orders(), st.integers(0, 5))
def test_epoch_has_each_sample_at_most_once(order: LaneOrder, epoch: int) -> None:
    ids = epoch_of(order, epoch).ravel()
    batch = order.global_batch_size
    assert len(np.unique(ids)) == len(ids) == order.num_samples // batch * batch
    assert ids.min() >= 0 and ids.max() < order.num_samples


@PROPERTY
@given(orders(), st.integers(0, 3), st.data())
def test_steps_one_at_a_time_equal_steps_together(order: LaneOrder, epoch: int, data: st.DataObject) -> None:
    together = epoch_of(order, epoch)
    step = data.draw(st.integers(0, order.steps_per_epoch - 1))
    slots = data.draw(st.lists(st.integers(0, order.global_batch_size - 1), max_size=6))
    assert np.array_equal(order.sample_ids(epoch, step, 1, slots)[0], together[step, slots])


@PROPERTY
@given(orders(), st.integers(0, 3))
def test_no_steps_and_no_slots_are_empty(order: LaneOrder, epoch: int) -> None:
    assert order.sample_ids(epoch, order.steps_per_epoch, 0, [0]).shape == (0, 1)
    assert order.sample_ids(epoch, 0, 1, []).shape == (1, 0)


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


@pytest.mark.parametrize("batch", [1, 12, 60, 64])
def test_ranks_share_each_micro_batch(batch: int) -> None:
    for accumulation in divisors(batch):
        blocks = np.arange(batch).reshape(accumulation, -1)
        for num_ranks in divisors(batch // accumulation):
            for micro_batch, block in enumerate(blocks):
                shares = [slots_of(batch, accumulation, micro_batch, rank, num_ranks) for rank in range(num_ranks)]
                assert len({len(share) for share in shares}) == 1
                assert np.array_equal(np.concatenate(shares), block)


def test_a_thousand_ranks_read_what_one_reads() -> None:
    order = LaneOrder((9_973,) * 100, global_batch_size=64_000, seed=3)
    together = order.sample_ids(2, 7, 1, range(order.global_batch_size))[0]
    shares = [
        order.sample_ids(2, 7, 1, slots_of(64_000, 2, part, rank, 1000)) for part in (0, 1) for rank in range(1000)
    ]
    assert np.array_equal(np.concatenate(shares, axis=1)[0], together)


def test_order_never_changes() -> None:
    order = LaneOrder((5, 9, 3, 8), global_batch_size=6, seed=1, lanes=2, window=4)
    assert epoch_of(order, 0).tolist() == [
        [0, 23, 24, 8, 9, 7],
        [22, 3, 2, 6, 11, 10],
        [4, 1, 14, 13, 12, 17],
        [5, 16, 15, 18, 19, 20],
    ]


@pytest.mark.parametrize("shard_samples", [(47,), (7, 0, 20, 20), (1,) * 47], ids=len)
@pytest.mark.parametrize("window", [0, 3])
def test_over_many_epochs_every_sample_is_seen_alike(shard_samples: tuple[int, ...], window: int) -> None:
    order = LaneOrder(shard_samples, global_batch_size=16, seed=5, lanes=4, window=window)
    epochs = 300
    seen = np.bincount(np.concatenate([epoch_of(order, epoch).ravel() for epoch in range(epochs)]), minlength=47)
    share = 32 / 47
    # Six standard deviations of a binomial count: none of the 47 lies outside by chance.
    assert np.abs(seen - epochs * share).max() < 6 * (epochs * share * (1 - share)) ** 0.5


def test_left_overs_differ_from_epoch_to_epoch() -> None:
    order = LaneOrder((47,), global_batch_size=16, seed=0)
    left = {tuple(np.setdiff1d(np.arange(47), epoch_of(order, epoch))) for epoch in range(20)}
    assert len(left) == 20


@pytest.mark.parametrize("change", [{"seed": 2}, {"lanes": 4}, {"window": 16}, {"global_batch_size": 16}], ids=str)
def test_other_options_give_another_order(change: dict[str, int]) -> None:
    options: dict[str, Any] = {"global_batch_size": 8, "seed": 1, "lanes": 8, "window": 5}
    order, other = LaneOrder((100, 60), **options), LaneOrder((100, 60), **{**options, **change})
    assert epoch_of(order, 0).ravel().tolist() != epoch_of(other, 0).ravel().tolist()


def test_epochs_differ_in_membership_and_order_of_steps() -> None:
    order = LaneOrder((100, 60), global_batch_size=8, seed=1)
    steps = [set(step) for epoch in range(3) for step in epoch_of(order, epoch).tolist()]
    assert max(len(a & b) for number, a in enumerate(steps) for b in steps[:number]) < 8


def test_whole_lanes_are_shuffled_where_the_window_is_zero_or_long() -> None:
    whole, long = (LaneOrder((90, 70), 8, seed=4, lanes=4, window=window) for window in (0, 40))
    assert np.array_equal(epoch_of(whole, 1), epoch_of(long, 1))
    # Shards sorted by identity: a step of one lane must not hold neighbours alone.
    one_lane = LaneOrder((1000,), 10, seed=4, lanes=1, window=0)
    spread = np.ptp(epoch_of(one_lane, 0), axis=1)
    assert np.median(spread) > 600


def test_window_bounds_how_far_a_sample_moves() -> None:
    order = LaneOrder((960,), 8, seed=4, lanes=8, window=6)
    line = (epoch_of(order, 0) - int(hash64(4, "rotate", 0) % np.uint64(960))) % 960
    for lane in range(8):
        positions = line[:, lane] - lane * 120
        assert np.array_equal(positions // 6, np.arange(120) // 6)


def test_each_rank_stays_in_its_own_shards() -> None:
    num_shards, num_ranks, batch = 64, 4, 32
    order = LaneOrder((25,) * num_shards, batch, seed=9, lanes=8)
    shards_of_ranks = [
        np.unique(order.sample_ids(0, 0, order.steps_per_epoch, slots_of(batch, 1, 0, rank, num_ranks)) // 25)
        for rank in range(num_ranks)
    ]
    # One more at each of the borders between ranks and where the line is rotated: 1.0x the bytes, not 4x.
    assert sum(len(shards) for shards in shards_of_ranks) <= num_shards + num_ranks
    assert max(len(shards) for shards in shards_of_ranks) <= num_shards // num_ranks + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"global_batch_size": 0}, "global_batch_size must be above 0, got 0"),
        ({"lanes": 0}, "lanes must be above 0.* got 0 and 4"),
        ({"window": -1}, "window not negative, got 8 and -1"),
        ({"global_batch_size": 31}, "31 is more than the dataset's 30 samples.*use at most 30"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LaneOrder((10, 20), **{"global_batch_size": 8, "seed": 0, "lanes": 8, "window": 4, **change})


@pytest.mark.parametrize(
    ("batch", "accumulation", "num_ranks", "nearest"),
    [(10, 1, 4, "8 or 12"), (250, 4, 8, "224 or 256"), (3, 1, 4, "4"), (7, 2, 1, "6 or 8")],
)
def test_indivisible_batch_names_the_nearest_sizes(batch: int, accumulation: int, num_ranks: int, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"global_batch_size {batch} .*the nearest is {nearest}$") as error:
        slots_of(batch, accumulation, 0, 0, num_ranks)
    assert "\n" not in str(error.value)
