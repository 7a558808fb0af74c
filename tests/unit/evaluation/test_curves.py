"""The numbers behind the figures."""

import numpy as np
import pytest

from lightning_face.evaluation.curves import MAX_POINTS, histogram_edges, roc_corners, running_mean, thinned
from lightning_face.evaluation.roc import Roc


def test_corners_hold_the_highest_tar_at_each_far() -> None:
    roc = Roc.of_sorted(np.linspace(1.0, 0.0, 6), np.array([True, False, True, True, False, False]))
    far, tar = roc_corners(roc)
    np.testing.assert_allclose(far, [0.0, 1 / 3, 2 / 3, 1.0])
    np.testing.assert_allclose(tar, [1 / 3, 1.0, 1.0, 1.0])


def test_long_curves_are_thinned_but_keep_both_ends_and_the_first_impostors() -> None:
    generator = np.random.default_rng(0)
    same = generator.random(50_000) < 0.5
    roc = Roc.of_sorted(np.sort(generator.random(50_000))[::-1], same)
    far, tar = roc_corners(roc)
    assert len(far) <= MAX_POINTS
    np.testing.assert_allclose(far[:10] * roc.impostors, np.arange(10))
    assert (far[-1], tar[-1]) == (1.0, 1.0)
    assert (np.diff(far) > 0).all()


@pytest.mark.parametrize("length", [1, 2, 100, MAX_POINTS + 1, 10 * MAX_POINTS])
def test_thinned_keeps_first_and_last(length: int) -> None:
    kept = thinned(length)
    assert (kept[0], kept[-1]) == (0, length - 1)
    assert len(kept) == min(length, MAX_POINTS)


def test_running_mean_equals_a_loop() -> None:
    values = np.random.default_rng(0).random(30)
    expected = [np.mean(values[max(0, i - 4) : i + 5]) for i in range(30)]
    np.testing.assert_allclose(running_mean(values, 4), expected)


def test_edges_cover_all_groups_and_points_even_when_all_are_equal() -> None:
    edges = histogram_edges([np.array([1.0, 2.0]), np.array([0.0])], 5.0)
    assert edges[0] < 0.0
    assert edges[-1] > 5.0
    flat = histogram_edges([np.zeros(3)])
    assert flat[0] < 0.0 < flat[-1]
    assert (np.diff(flat) > 0).all()
