"""Batches of mined triplets: pure arithmetic on what was mined (promise P4)."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightning_face.data.order import Ids, slots_of
from lightning_face.data.sampler import TrainSampler
from lightning_face.data.triplet_order import TripletOrder
from lightning_face.errors import ConfigError

LABELS = np.arange(200) % 50


def make_order(every_n_steps: int = 2, global_batch_size: int = 24, **options: Any) -> TripletOrder:
    return TripletOrder(LABELS, 50, global_batch_size, seed=3, every_n_steps=every_n_steps, **options)


def pretended(order: TripletOrder, window: int) -> Ids:
    """Triplets that were not mined: each anchor with its neighbours in the subset."""
    samples_M = order.subset(window)
    return np.stack([np.roll(samples_M, -shift)[: order.num_triplets] for shift in range(3)], axis=1)


def remember_all(order: TripletOrder, windows: range) -> list[Ids]:
    return [order.mined.setdefault(window, pretended(order, window)) for window in windows]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(2, 3))
def test_ranks_and_micro_batches_train_each_triplet_once(
    every: int, num_ranks: int, accumulation: int, per_rank: int, per_identity: int
) -> None:
    """In the order in which they were mined, each whole within a micro-batch of a rank, over the ends of epochs."""
    assume(every * num_ranks * accumulation * per_rank > per_identity)
    order = make_order(every, 3 * num_ranks * accumulation * per_rank, images_per_identity=per_identity)
    order.check_micro_batches(num_ranks, accumulation, num_ahead=0)
    num_windows = 2 * order.steps_per_epoch // every
    expected = np.concatenate(remember_all(order, range(num_windows + 1)))
    trained = []
    for epoch, step in [divmod(step, order.steps_per_epoch) for step in range(num_windows * every)]:
        for share in [(micro, rank) for micro in range(accumulation) for rank in range(num_ranks)]:
            slots = slots_of(order.global_batch_size, accumulation, share[0], share[1], num_ranks)
            trained.append(order.sample_ids(epoch, step, 1, slots).reshape(per_rank, 3))
    assert np.array_equal(np.concatenate(trained) % 200, expected[: num_windows * order.num_triplets])


@pytest.mark.parametrize("per_identity", [2, 3, 7])
def test_subsets_are_batches_of_identities(per_identity: int) -> None:
    """As many images as triplets, rounded up to whole identities; the pass over all of them differs from the next."""
    order = make_order(every_n_steps=5, images_per_identity=per_identity)
    assert order.num_triplets == 40 <= order.subset_size < 40 + per_identity
    subsets = [order.subset(window) for window in range(9)]
    for samples_M in subsets:
        rows = LABELS[samples_M].reshape(-1, per_identity)
        assert (rows == rows[:, :1]).all() and len(samples_M) == order.subset_size
    assert len({tuple(samples_M) for samples_M in subsets}) == 9


def test_an_image_that_comes_again_is_augmented_in_another_way() -> None:
    order = make_order()
    remember_all(order, range(9))
    epoch = order.sample_ids(0, 0, 8, range(24))
    assert len(np.unique(epoch)) == epoch.size > len(np.unique(epoch % 200))


def test_a_window_is_known_until_the_one_after_it_is_trained() -> None:
    order = make_order()
    for window in range(4):
        order.remember(window, pretended(order, window))
        assert [*order.mined] == list(range(max(0, window - 1), window + 1))
    order.sample_ids(0, 4, 4, range(24))
    for epoch, step, window in ((0, 3, 1), (1, 0, 4)):
        with pytest.raises(AssertionError, match=rf"triplets of window {window} are not mined, those of \[2, 3\] are"):
            order.sample_ids(epoch, step, 1, range(24))


def test_readers_ask_for_no_more_than_is_known() -> None:
    """Two windows of two steps; the fifth step's ids need the third one."""
    order = make_order()
    remember_all(order, range(2))
    sampler = TrainSampler(order, accumulation=1, rank=0, num_ranks=1, first_epoch=0, first_step=0)
    requests = iter(sampler)
    assert [next(requests).micro_step for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(AssertionError, match="window 2"):
        next(requests)


def test_state_says_what_must_not_change() -> None:
    assert make_order(tail_weight=0.5).state() == {
        "kind": "triplets",
        "every_n_steps": 2,
        "images_per_identity": 2,
        "tail_weight": 0.5,
        "batch": 24,
    }
    assert str(make_order()) == ("triplets mined every 2 steps among 8 identities x 2 images, tail weight 0, seed 3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_steps": 0}, "data.mine_every_n_steps must be at least 1, and .* at least 2, got 0 and 2"),
        ({"images_per_identity": 1}, "at least 2, got 2 and 1"),
        ({"global_batch_size": 25}, "divisible by the samples of a triplet = 3; the nearest is 24 or 27"),
        ({"global_batch_size": 201}, "more than the dataset's 200 samples"),
        ({"every_n_steps": 26}, "mines among 208 images, .* but the dataset has 200; use at most 25"),
        ({"images_per_identity": 16}, "images_per_identity 16 leaves no other identity among the 16 images"),
        ({"tail_weight": 2.0}, r"data.tail_weight must be in \[0, 1\]"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_order(**options)
    if "use at most 25" in message:
        assert make_order(every_n_steps=25).subset_size == 200


def test_micro_batches_that_cannot_work_are_refused() -> None:
    order = make_order()
    order.check_micro_batches(num_ranks=2, accumulation=2, num_ahead=3)
    with pytest.raises(ConfigError, match="ranks x accumulation = 3 x 4 x 1 = 12; the nearest is 24 or 36"):
        make_order(every_n_steps=2, global_batch_size=30).check_micro_batches(4, 1, 0)
    with pytest.raises(ConfigError, match=r"must be at least 3, got 2: data\.num_workers read 4 micro-batches ahead"):
        order.check_micro_batches(num_ranks=2, accumulation=2, num_ahead=4)
