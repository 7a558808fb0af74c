"""Verification against loops: cosines, accuracy over folds, names of figures, and chance."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightning_face.errors import DataError
from lightning_face.evaluation.pairs import NO_FOLDS, PairList
from lightning_face.evaluation.verification import cosines, evaluate, verify


def pair_list(same: NDArray[np.bool_], folds: int = 0, samples: int = 1, seed: int = 0) -> PairList:
    generator = np.random.default_rng(seed)
    left, right = generator.integers(0, samples, (2, len(same)))
    fold = np.arange(len(same)) // 2 % folds if folds else np.full(len(same), NO_FOLDS)
    return PairList(left, right, same, fold)


def alternating(size: int) -> NDArray[np.bool_]:
    return np.array([index % 2 == 0 for index in range(size)])


def test_cosines_equal_a_loop() -> None:
    embeddings = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 30.0
    pairs = pair_list(alternating(700), samples=50)
    for index, found in enumerate(cosines(embeddings, pairs)):
        left, right = embeddings[pairs.left_P[index]].double(), embeddings[pairs.right_P[index]].double()
        expected = sum(float(a * b) for a, b in zip(left, right, strict=True))
        expected /= sum(float(a * a) for a in left) ** 0.5 * sum(float(b * b) for b in right) ** 0.5
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_every_float_type_and_norm_is_taken(dtype: torch.dtype) -> None:
    embeddings = torch.tensor([[2.0, 0.0], [0.0, 4.0], [8.0, 8.0], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    pairs = PairList(np.array([0, 0, 3, 2]), np.array([1, 2, 0, 2]), alternating(4), np.full(4, NO_FOLDS))
    found = cosines(embeddings, pairs)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [0.0, 0.5**0.5, 0.0, 1.0], atol=1e-15)
    assert found.max() <= 1.0


def test_no_cosine_leaves_its_range_by_rounding() -> None:
    embeddings = torch.randn(500, 37, generator=torch.Generator().manual_seed(2))
    itself = np.arange(500)
    found = cosines(embeddings, PairList(itself, itself, alternating(500), np.full(500, NO_FOLDS)))
    assert found.max() <= 1.0
    np.testing.assert_allclose(found, 1.0, atol=1e-14)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_embeddings_that_are_not_finite_are_refused(bad: float) -> None:
    embeddings = torch.ones(6, 3)
    embeddings[4, 1] = bad
    with pytest.raises(DataError, match=r"1 of 6 embeddings are not finite \(first: sample 4\)"):
        verify(embeddings, pair_list(alternating(4)))


def test_a_missing_embedding_is_refused() -> None:
    pairs = PairList(np.array([0, 7]), np.array([1, 1]), alternating(2), np.full(2, NO_FOLDS))
    with pytest.raises(DataError, match="sample 7, but there are 6 embeddings"):
        verify(torch.ones(6, 3), pairs)


def naive_fold_accuracies(scores: NDArray[np.float64], pairs: PairList) -> list[float]:
    """The rule in words: the best threshold of the other folds, midway between scores, strictest of equals."""
    accuracies = []
    for fold in sorted(set(pairs.fold_P.tolist())):
        train = [(s, t) for s, t, f in zip(scores, pairs.same_P, pairs.fold_P, strict=True) if f != fold]
        test = [(s, t) for s, t, f in zip(scores, pairs.same_P, pairs.fold_P, strict=True) if f == fold]
        levels = sorted({s for s, _ in train}, reverse=True)
        candidates = [np.nextafter(levels[0], np.inf)]
        candidates += [(a + b) / 2 for a, b in pairwise(levels)] + [levels[-1]]
        right = [sum((s >= candidate) == t for s, t in train) for candidate in candidates]
        threshold = candidates[right.index(max(right))]
        accuracies.append(sum((s >= threshold) == t for s, t in test) / len(test))
    return accuracies


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([1, 2, 12]))
@settings(max_examples=25, deadline=None)
def test_accuracy_over_folds_equals_a_loop(seed: int, folds: int, decimals: int) -> None:
    generator = np.random.default_rng(seed)
    pairs = pair_list(alternating(60), folds)
    scores = np.round(generator.normal(0.3 * pairs.same_P, 0.2), decimals)
    result = evaluate(scores, pairs)
    expected = naive_fold_accuracies(scores, pairs)
    assert result.folds is not None
    np.testing.assert_allclose(result.folds.accuracies_F, expected)
    assert result.accuracy == pytest.approx(sum(expected) / folds)
    mean = sum(expected) / folds
    error = (sum((a - mean) ** 2 for a in expected) / (folds - 1)) ** 0.5 / folds**0.5
    assert result.scalars()["accuracy_std_error"] == pytest.approx(error, abs=1e-12)


def test_the_threshold_of_a_fold_never_sees_the_fold() -> None:
    """Fold 1 is scored upside down: a threshold that had seen it would do better than 0 there."""
    same = alternating(40)
    fold = np.repeat([0, 1], 20)
    scores = np.where(same == (fold == 0), 0.9, 0.1)
    result = evaluate(scores, PairList(np.zeros(40, np.int64), np.zeros(40, np.int64), same, fold))
    assert result.folds is not None
    assert result.folds.accuracies_F[1] == 0.0
    assert result.best_accuracy == 0.5


def test_a_score_at_the_threshold_is_accepted() -> None:
    """Each threshold is midway between the scores of the other fold, where this fold has a pair."""
    same, fold = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    result = evaluate(np.array([0.75, 0.25, 0.5, 0.0]), PairList(fold, fold, same, fold))
    assert result.folds is not None
    assert result.folds.thresholds_F.tolist() == [0.25, 0.5]
    assert result.folds.accuracies_F.tolist() == [0.5, 1.0], "0.25 is an impostor at the threshold of fold 0"


@given(st.integers(0, 1000), st.floats(0.01, 100.0), st.floats(-10.0, 10.0))
@settings(max_examples=25, deadline=None)
def test_order_and_linear_transforms_change_no_figure(seed: int, scale: float, shift: float) -> None:
    """Squared distance is a linear transform of the cosine, so both give the same figures."""
    generator = np.random.default_rng(seed)
    pairs = pair_list(alternating(400), folds=4)
    scores = generator.normal(0.3 * pairs.same_P, 0.2)
    order = generator.permutation(400)
    shuffled = PairList(pairs.left_P[order], pairs.right_P[order], pairs.same_P[order], pairs.fold_P[order])
    before, after = evaluate(scores, pairs).scalars(), evaluate(scale * scores[order] + shift, shuffled).scalars()
    assert after.pop("threshold") == pytest.approx(scale * before.pop("threshold") + shift, abs=1e-9)
    assert after == pytest.approx(before, abs=1e-12)


def test_names_with_and_without_folds() -> None:
    same = alternating(6000)
    scores = np.random.default_rng(0).normal(0.5 * same, 0.2)
    common = {"accuracy", "best_accuracy", "auc", "eer", "threshold", "tar@far=1e-1", "tar@far=1e-2", "tar@far=1e-3"}
    with_folds, without = evaluate(scores, pair_list(same, 10)).scalars(), evaluate(scores, pair_list(same)).scalars()
    assert set(with_folds) == common | {"accuracy_std_error"}
    assert set(without) == common
    assert without["accuracy"] == without["best_accuracy"] == with_folds["best_accuracy"]
    assert all(type(value) is float for value in with_folds.values())


def test_perfect_embeddings_score_one() -> None:
    identities = torch.arange(40) // 2
    embeddings = torch.nn.functional.one_hot(identities).float()
    left = np.arange(0, 40)
    genuine, impostor = left ^ 1, (left + 2) % 40
    pairs = PairList(
        np.concatenate([left, left]), np.concatenate([genuine, impostor]), np.arange(80) < 40, np.arange(80) % 5
    )
    figures = verify(embeddings, pairs).scalars()
    assert [figures[name] for name in ("accuracy", "best_accuracy", "auc", "tar@far=1e-1")] == [1.0] * 4
    assert figures["eer"] == figures["accuracy_std_error"] == 0.0
    assert figures["threshold"] == pytest.approx(0.5)


def test_random_embeddings_are_chance() -> None:
    embeddings = torch.randn(2000, 32, generator=torch.Generator().manual_seed(1))
    figures = verify(embeddings, pair_list(alternating(20_000), folds=10, samples=2000)).scalars()
    assert figures["accuracy"] == pytest.approx(0.5, abs=0.02)
    assert figures["auc"] == pytest.approx(0.5, abs=0.02)
    assert figures["eer"] == pytest.approx(0.5, abs=0.02)
    assert figures["tar@far=1e-2"] == pytest.approx(0.01, abs=0.005)


def test_a_quarter_million_pairs_in_seconds() -> None:
    """About 0.3 s on one free core; the bound only catches a loop over pairs or thresholds."""
    pairs = pair_list(alternating(250_000), folds=10, samples=5000)
    embeddings = torch.randn(5000, 64)
    start = time.process_time()
    verify(embeddings, pairs).scalars()
    assert time.process_time() - start < 4.0
