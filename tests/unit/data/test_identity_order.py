"""The order of identities is a pure function too (promise P4): P people with K images each in every step."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_face.data.identity_order import IdentityOrder
from lightning_face.data.order import Ids, slots_of
from lightning_face.errors import ConfigError
from lightning_face.hashing import hash64, permutation, uniform

PROPERTY = settings(max_examples=60, deadline=None)


@st.composite
def orders(draw: st.DrawFn) -> IdentityOrder:
    counts = draw(st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any))
    num_samples, per_identity = sum(counts), draw(st.integers(1, 5).filter(lambda images: images <= sum(counts)))
    batch = per_identity * draw(st.integers(1, max(1, min(num_samples, 40) // per_identity)))
    seed = draw(st.integers(0, 2**40))
    # Samples of an identity lie anywhere.
    labels = np.repeat(np.arange(len(counts)), counts)[np.argsort(hash64(seed, np.arange(num_samples)))]
    tail_weight = draw(st.sampled_from([0.0, 0.5, 1.0]))
    return IdentityOrder(labels, len(counts), batch, seed, per_identity, tail_weight)


def epoch_of(order: IdentityOrder, epoch: int) -> Ids:
    """Every slot of an epoch, (steps, P, K)."""
    ids = order.sample_ids(epoch, 0, order.steps_per_epoch, range(order.global_batch_size))
    return ids.reshape(order.steps_per_epoch, order.num_rows, order.images_per_identity)


def epoch_by_the_book(order: IdentityOrder, epoch: int) -> list[list[list[int]]]:
    """The rule of the docstring in lists: weigh, visit, lay end to end, cut into stretches, shuffle, go round."""
    num_samples, num_steps = order.num_samples, order.steps_per_epoch
    images = [[i for i in range(num_samples) if order.labels_N[i] == c] for c in range(order.num_classes)]
    weights = [round(2**16 * len(own) ** (1 - order.tail_weight)) if own else 0 for own in images]
    offset = float(uniform(order.seed, "offset", epoch))
    line: list[tuple[int, int]] = []
    height = 0
    for identity in permutation(order.num_classes, order.seed, "people", epoch):
        height += weights[identity]
        end = math.floor(height / sum(weights) * (num_steps * order.num_rows) + offset)
        line += [(int(identity), visit) for visit in range(end - len(line))]
    steps = []
    for step in range(num_steps):
        rows = []
        for row in range(order.num_rows):
            stretch = line[row * num_steps : (row + 1) * num_steps]
            identity, visit = stretch[permutation(num_steps, order.seed, "visits", epoch, row)[step]]
            own = images[identity]
            shuffled = [own[place] for place in permutation(len(own), order.seed, "images", epoch, identity)]
            places = range(visit * order.images_per_identity, (visit + 1) * order.images_per_identity)
            rows.append([shuffled[place % len(own)] + place // len(own) * num_samples for place in places])
        steps.append(rows)
    return steps


@PROPERTY
@given(orders(), st.integers(0, 5))
def test_equals_the_rule_written_out(order: IdentityOrder, epoch: int) -> None:
    assert epoch_of(order, epoch).tolist() == epoch_by_the_book(order, epoch)


@PROPERTY
@given(orders(), st.integers(0, 3))
def test_a_row_is_one_identity(order: IdentityOrder, epoch: int) -> None:
    labels = order.labels_N[epoch_of(order, epoch) % order.num_samples]
    assert (labels == labels[:, :, :1]).all()


@PROPERTY
@given(orders(), st.integers(0, 3))
def test_no_number_comes_twice(order: IdentityOrder, epoch: int) -> None:
    """A sample that comes again has another number, and so another augmentation."""
    ids = epoch_of(order, epoch).ravel()
    assert len(np.unique(ids)) == len(ids)


@PROPERTY
@given(orders(), st.integers(0, 3))
def test_visits_are_the_share_rounded(order: IdentityOrder, epoch: int) -> None:
    counts = np.bincount(order.labels_N, minlength=order.num_classes).astype(float)
    weights = np.where(counts > 0, counts ** (1 - order.tail_weight), 0.0)
    shares = weights / weights.sum() * order.steps_per_epoch * order.num_rows
    visited = Counter(order.labels_N[epoch_of(order, epoch)[:, :, 0].ravel() % order.num_samples].tolist())
    for identity, share in enumerate(shares):
        assert math.floor(share - 1e-3) <= visited[identity] <= math.ceil(share + 1e-3)


def test_identities_of_a_step_differ() -> None:
    """But for those that lie across the end of a stretch, of which there are fewer than rows."""
    order = IdentityOrder(np.repeat(np.arange(500), 20), 500, 200, seed=4, images_per_identity=4)
    labels = order.labels_N[epoch_of(order, 1)[:, :, 0] % order.num_samples]
    doubles = sum(order.num_rows - len(np.unique(row)) for row in labels)
    assert labels.shape == (50, 50) and doubles <= 10


def test_everyone_meets_everyone() -> None:
    """Rows are shuffled apart: the people of one step are spread over the steps around it."""
    order = IdentityOrder(np.repeat(np.arange(500), 20), 500, 200, seed=4, images_per_identity=4)
    labels = order.labels_N[epoch_of(order, 0)[:, :, 0] % order.num_samples]
    common = [len(np.intersect1d(labels[step], labels[other])) for step in range(50) for other in range(step)]
    assert np.mean(common) == pytest.approx(50 * 50 / 500, rel=0.2) and max(common) < 20


@PROPERTY
@given(orders(), st.integers(0, 3), st.data())
def test_steps_one_at_a_time_equal_steps_together(order: IdentityOrder, epoch: int, data: st.DataObject) -> None:
    together = epoch_of(order, epoch).reshape(order.steps_per_epoch, -1)
    step = data.draw(st.integers(0, order.steps_per_epoch - 1))
    slots = data.draw(st.lists(st.integers(0, order.global_batch_size - 1), max_size=6))
    assert np.array_equal(order.sample_ids(epoch, step, 1, slots)[0], together[step, slots])


def test_ranks_read_what_one_reads() -> None:
    order = IdentityOrder(np.arange(60_000) % 3_000, 3_000, 4_096, seed=3, images_per_identity=4, tail_weight=0.5)
    together = order.sample_ids(2, 7, 1, range(4_096))[0]
    shares = [order.sample_ids(2, 7, 1, slots_of(4_096, 1, 0, rank, 64)) for rank in range(64)]
    assert np.array_equal(np.concatenate(shares, axis=1)[0], together)


def test_order_never_changes() -> None:
    order = IdentityOrder(np.repeat(np.arange(4), [1, 2, 3, 8]), 4, 4, seed=1, images_per_identity=2, tail_weight=1.0)
    assert epoch_of(order, 0).tolist() == [
        [[0, 14], [12, 11]],
        [[2, 1], [8, 13]],
        [[16, 15], [4, 5]],
    ]


def test_tail_weight_meets_rare_identities_more_often() -> None:
    labels = np.repeat([0, 1], [90, 10])
    shares = []
    for tail_weight in (0.0, 0.5, 1.0):
        order = IdentityOrder(labels, 2, 10, seed=0, tail_weight=tail_weight)
        shares.append(float(np.mean(labels[epoch_of(order, 0) % 100])))
    assert shares == pytest.approx([0.1, 0.25, 0.5], abs=0.011)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"global_batch_size": 0}, "data.global_batch_size must be above 0, got 0"),
        ({"global_batch_size": 21}, "more than the dataset's 20 samples"),
        ({"images_per_identity": 0}, "images_per_identity must be at least 1 and divide"),
        ({"images_per_identity": 3}, "divide data.global_batch_size, got 3 and 8"),
        ({"tail_weight": 1.5}, r"data.tail_weight must be in \[0, 1\], got 1.5"),
        ({"tail_weight": float("nan")}, r"data.tail_weight must be in \[0, 1\]"),
    ],
)
def test_impossible_options_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IdentityOrder(**{"labels_N": np.arange(20) % 5, "num_classes": 5, "global_batch_size": 8, "seed": 0, **change})
