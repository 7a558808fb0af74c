"""ROC figures against loops over every threshold, and properties that hold for any scores."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc

from lightning_face.evaluation.roc import MIN_FALSE_ACCEPTS, Roc

Scored = tuple[NDArray[np.float64], NDArray[np.bool_]]


def roc_of(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> Roc:
    order = np.argsort(-scores, kind="stable")
    return Roc.of_sorted(scores[order], same[order])


def naive_rates(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> list[tuple[float, float, float]]:
    """(threshold, FAR, TAR) from accepting nothing to accepting everything."""
    rates = [(np.inf, 0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        accepted = [bool(truth) for score, truth in zip(scores, same, strict=True) if score >= threshold]
        far = accepted.count(False) / int((~same).sum())
        rates.append((threshold, far, accepted.count(True) / int(same.sum())))
    return rates


def naive_accuracy(scores: NDArray[np.float64], same: NDArray[np.bool_], threshold: float) -> float:
    right = [bool(score >= threshold) == truth for score, truth in zip(scores, same, strict=True)]
    return right.count(True) / len(right)


@st.composite
def scored_pairs(draw: st.DrawFn) -> Scored:
    """Up to 60 scores with many ties, both kinds among them."""
    size = draw(st.integers(2, 60))
    levels = draw(st.lists(st.integers(-8, 8), min_size=size, max_size=size))
    same = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(lambda kinds: len(set(kinds)) == 2))
    return np.array(levels) / 8.0, np.array(same)


@given(scored_pairs())
@settings(max_examples=60, deadline=None)
def test_counts_eer_and_area_equal_loops(pairs: Scored) -> None:
    roc, rates = roc_of(*pairs), naive_rates(*pairs)
    np.testing.assert_array_equal(roc.thresholds_T, [rate[0] for rate in rates])
    np.testing.assert_allclose(roc.far_T, [rate[1] for rate in rates])
    np.testing.assert_allclose(roc.tar_T, [rate[2] for rate in rates])

    for (_, far0, tar0), (_, far1, tar1) in pairwise(rates):
        if far1 >= 1.0 - tar1:  # the first segment that meets FAR = FRR, solved for the point on it
            share = (1.0 - tar0 - far0) / (far1 - far0 + tar1 - tar0)
            assert roc.equal_error_rate() == pytest.approx(far0 + share * (far1 - far0), abs=1e-12)
            break

    scores, same = pairs
    wins = [1.0 if g > i else 0.5 if g == i else 0.0 for g in scores[same] for i in scores[~same]]
    assert roc.area() == pytest.approx(sum(wins) / len(wins), abs=1e-12)


@given(scored_pairs())
@settings(max_examples=60, deadline=None)
def test_best_threshold_equals_a_search(pairs: Scored) -> None:
    threshold, accuracy = roc_of(*pairs).best_threshold()
    best = max(naive_accuracy(*pairs, candidate) for candidate, _, _ in naive_rates(*pairs))
    assert accuracy == pytest.approx(best)
    assert naive_accuracy(*pairs, threshold) == pytest.approx(best), "the threshold does what it promises"
    assert np.isfinite(threshold)


@given(scored_pairs(), st.sampled_from([np.exp, np.arctan, lambda s: s**3 + 0.1 * s, lambda s: 2.0 - 2.0 * (1.0 - s)]))
@settings(max_examples=40, deadline=None)
def test_rising_transforms_of_scores_change_nothing(pairs: Scored, transform: object) -> None:
    scores, same = pairs
    before, after = roc_of(scores, same), roc_of(transform(scores), same)  # type: ignore[operator]
    assert after.area() == before.area()
    assert after.equal_error_rate() == before.equal_error_rate()
    assert after.tar_at_far() == before.tar_at_far()
    assert after.best_threshold()[1] == before.best_threshold()[1]


@given(scored_pairs(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_pairs_changes_nothing(pairs: Scored, random: object) -> None:
    order = list(range(len(pairs[0])))
    random.shuffle(order)  # type: ignore[attr-defined]
    before, after = roc_of(*pairs), roc_of(pairs[0][order], pairs[1][order])
    np.testing.assert_array_equal(after.true_accepts_T, before.true_accepts_T)
    np.testing.assert_array_equal(after.false_accepts_T, before.false_accepts_T)
    assert after.best_threshold() == before.best_threshold()


def test_tar_at_far_equals_a_loop() -> None:
    generator = np.random.default_rng(3)
    same = np.arange(4000) % 4 == 0
    scores = np.round(generator.normal(0.4 * same, 0.2), 2)  # ties
    found = roc_of(scores, same).tar_at_far()
    rates = naive_rates(scores, same)
    assert sorted(found) == [1, 2, 3], "3,000 impostors support 1e-3, not 1e-4"
    for exponent, tar in found.items():
        assert tar == max(rate[2] for rate in rates if round(rate[1] * 3000) * 10**exponent <= 3000)


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_a_far_needs_three_impostors(exponent: int) -> None:
    for impostors, there in ((MIN_FALSE_ACCEPTS * 10**exponent, True), (MIN_FALSE_ACCEPTS * 10**exponent - 1, False)):
        same = np.arange(impostors + 1) == 0
        assert (exponent in roc_of(np.linspace(1.0, 0.0, impostors + 1), same).tar_at_far()) is there


def test_equal_scores_are_accepted_together() -> None:
    """A genuine and 3 impostors share the highest score: no threshold takes the genuine one alone."""
    scores = np.array([0.9] * 4 + [0.1] * 27)
    same = np.arange(31) == 0
    for order in (np.arange(31), np.arange(31)[::-1]):
        roc = roc_of(scores[order], same[order])
        assert roc.false_accepts_T.tolist() == [0, 3, 30]
        assert roc.true_accepts_T.tolist() == [0, 1, 1]
        assert roc.tar_at_far() == {1: 1.0}
        assert roc.best_threshold()[1] == pytest.approx(30 / 31)
        assert roc.area() == pytest.approx((1.5 + 27) / 30)


def test_all_scores_equal_is_chance() -> None:
    roc = roc_of(np.zeros(20), np.arange(20) < 10)
    assert (roc.area(), roc.equal_error_rate(), roc.best_threshold()[1]) == (0.5, 0.5, 0.5)


def test_perfect_separation() -> None:
    roc = roc_of(np.array([0.9, 0.8, 0.3, 0.2]), np.array([True, True, False, False]))
    assert (roc.area(), roc.equal_error_rate()) == (1.0, 0.0)
    assert list(roc.best_threshold()) == pytest.approx([0.55, 1.0])


def test_the_threshold_between_neighbouring_floats_separates_them() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1.0))
    threshold, accuracy = roc_of(np.array([low, high]), np.array([False, True])).best_threshold()
    assert low < threshold <= high
    assert accuracy == 1.0


def test_area_equals_torchmetrics_where_float32_is_enough() -> None:
    generator = np.random.default_rng(4)
    same = generator.random(500) < 0.5
    scores = generator.random(500)
    expected = binary_auroc(torch.from_numpy(scores), torch.from_numpy(same).long())
    assert roc_of(scores, same).area() == pytest.approx(float(expected), abs=1e-6)
