"""MML against the sum over ordered pairs, written as loops in float64, and the hazards of its gradient."""

from itertools import pairwise
from types import ModuleType

import pytest
import torch
from torch import Tensor

from lightning_face.losses import ClassRows, MinimumMargin, at_once, class_sums, moved_centers
from lightning_face.losses.pair_tiles import TileOfPairs, squared_distances
from tests.oracle import Rows, assert_close, margin_sum, moved, pairs_in_scope, squared_distance

MARGIN = 6.0


def some_centers(num_classes: int = 7) -> Tensor:
    return torch.randn(num_classes, 4, generator=torch.Generator().manual_seed(4))


def as_batch(centers: Tensor) -> ClassRows:
    return ClassRows(torch.arange(len(centers)), centers.detach())


def minimum_margin_loss(centers: Tensor, margin: float, own: range | None = None) -> Tensor:
    """Over the pairs within one batch."""
    sums = MinimumMargin(as_batch(centers), margin)
    sums.add_within(range(len(centers)) if own is None else own, gradient=True)
    return sums.at(centers, 1.0)


def slow_loss(rows: Rows) -> Tensor:
    return margin_sum(rows, pairs_in_scope(rows, rows, "batch"), MARGIN)


def after_update(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Mode A: where Wen's rule takes the centers, differentiable in the features."""
    classes, slots, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    return moved_centers(centers[classes], class_sums(features, slots, len(classes)), counts, 0.5)


def loops_over(centers: Tensor, batch: range, margin: float, *, within: bool) -> tuple[Tensor, Tensor, list[float]]:
    """Sum over the pairs of the batch with others, or with all; its gradient; the squared distances of the pairs."""
    slow = centers.double().requires_grad_()
    rows = dict(enumerate(slow))
    pairs = pairs_in_scope(rows, batch, "batch_vs_all")
    pairs = [(i, j) for i, j in pairs if within or (i in batch) != (j in batch)]
    loss = margin_sum(rows, pairs, margin)
    loss.backward()
    return loss.detach(), slow.grad, [float(squared_distance(rows, pair).detach()) for pair in pairs]


def check(module: ModuleType) -> None:
    """Five classes of a batch among themselves and with seven others, of which one is far away."""
    centers = some_centers(12)
    centers[11] += 100.0
    batch, others = as_batch(centers)[:5], as_batch(centers)[5:]
    sums = module.MinimumMargin(batch, 4.0)
    sums.add_within(range(5), gradient=True)
    sums.add_across(others, gradient=True)
    loss, gradient, squares = loops_over(centers, range(5), 4.0, within=True)
    assert_close(sums.loss, loss)
    assert_close(sums.gradient_UD, gradient[:5])
    assert int(sums.num_close) == sum(square < 4.0 for square in squares)
    assert_close(sums.smallest_square, min(squares))
    assert module.MinimumMargin(batch, 4.0).smallest_square == torch.inf
    leaf = batch.rows_RD.clone().requires_grad_()
    value = sums.at(leaf, 0.5)
    assert_close(value, 0.5 * loss)
    (value * 3.0).backward()
    assert_close(leaf.grad, 1.5 * gradient[:5])


def check_tiles(module: ModuleType) -> None:
    """Three classes with nine, of which one is far away, the other way round, and with themselves."""
    centers = some_centers(12)
    centers[11] += 10.0
    first, second = (module.ClassRows(places, centers[places]) for places in (torch.arange(3), torch.arange(3, 12)))
    tile = module.TileOfPairs(first, second, 4.0)
    loss, gradient, squares = loops_over(centers, range(3), 4.0, within=False)
    assert_close(2 * tile.loss, loss)
    assert int(2 * tile.num_close) == sum(square < 4.0 for square in squares)
    assert_close(tile.smallest_square, min(squares))
    assert_close(tile.first_gradient(), gradient[:3])
    assert_close(torch.zeros(9, 4).index_copy(0, tile.close_K, tile.second_gradient()), gradient[3:])
    assert len(tile.close_K) < 9
    assert_close(module.TileOfPairs(second, first, 4.0).loss, tile.loss)
    itself = module.TileOfPairs(first, first, 100.0)
    assert itself.num_close == 6 and itself.smallest_square > 0
    assert list(module.tiles(range(3, 9), centers)) == [slice(3, 9)]
    far = centers[:11] + 1000.0
    assert_close(module.squared_distances(far, far[:5]), torch.cdist(far.double(), far[:5].double()).square())
    assert (module.squared_distances(far, far) >= 0).all()


def test_value_and_gradient_equal_the_loop_with_pairs_on_both_sides_of_the_margin() -> None:
    centers = some_centers().requires_grad_()
    slow_centers = centers.detach().double().requires_grad_()
    pairs = torch.pdist(centers.detach()).square()
    assert 0 < int((pairs < MARGIN).sum()) < len(pairs)
    fast, slow = minimum_margin_loss(centers, MARGIN), slow_loss(dict(enumerate(slow_centers)))
    assert_close(fast, slow)
    (gradient,) = torch.autograd.grad(fast, centers)
    (expected,) = torch.autograd.grad(slow, slow_centers)
    assert_close(gradient, expected)


def test_pairs_are_ordered_and_a_center_is_no_pair_with_itself() -> None:
    """Distances squared 1, 4 and 9 under a margin of 5: 2 (4 + 1 + 0), and nothing for the diagonal."""
    centers = torch.tensor([[0.0], [1.0], [3.0]])
    assert minimum_margin_loss(centers, 5.0).item() == 10.0


def test_one_class_costs_nothing() -> None:
    center = some_centers(1).requires_grad_()
    loss = minimum_margin_loss(center, MARGIN)
    loss.backward()
    assert loss.item() == 0.0
    assert not center.grad.any()


def test_centers_beyond_the_margin_cost_nothing_and_do_not_move() -> None:
    centers = (10.0 * torch.eye(4)).requires_grad_()  # squared distances of 200
    loss = minimum_margin_loss(centers, 199.0)
    loss.backward()
    assert loss.item() == 0.0
    assert not centers.grad.any()


def test_a_distance_of_exactly_the_margin_costs_nothing() -> None:
    assert minimum_margin_loss(torch.tensor([[0.0], [3.0]]), 9.0).item() == 0.0


@pytest.mark.parametrize("centers", [torch.zeros(4, 3), torch.ones(4, 3), torch.full((4, 3), 1e3)])
def test_coincident_centers_cost_the_margin_and_have_a_finite_gradient(centers: Tensor) -> None:
    centers = centers.clone().requires_grad_()
    loss = minimum_margin_loss(centers, MARGIN)
    loss.backward()
    assert loss.item() == 12 * MARGIN
    assert torch.equal(centers.grad, torch.zeros(4, 3))


def test_two_of_many_coincide() -> None:
    centers = some_centers()
    centers[3] = centers[5]
    centers.requires_grad_()
    minimum_margin_loss(centers, MARGIN).backward()
    assert torch.isfinite(centers.grad).all()


@pytest.mark.parametrize("numbers_at_once", [1, 14, 40])
def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch, numbers_at_once: int) -> None:
    """One class against seven takes 7 numbers: tiles of one, two and five rows."""
    whole_centers, centers = some_centers().requires_grad_(), some_centers().requires_grad_()
    whole = minimum_margin_loss(whole_centers, MARGIN)
    whole.backward()
    monkeypatch.setattr(at_once, "NUMBERS_ON_CPU", numbers_at_once)
    loss = minimum_margin_loss(centers, MARGIN)
    loss.backward()
    assert_close(loss, whole)
    assert_close(centers.grad, whole_centers.grad)


def test_pairs_across_equal_the_loop() -> None:
    """Both sides' gradients; the second side's for those classes alone that have a close partner."""
    margin, centers = 4.0, some_centers(12)
    centers[11] += 100.0
    slow_centers = centers.double().requires_grad_()
    batch, others = as_batch(centers)[:4], as_batch(centers)[4:]
    sums = MinimumMargin(batch, margin)
    tile = sums.add_across(others, gradient=True)
    rows = dict(enumerate(slow_centers))
    pairs = [(i, j) for i, j in pairs_in_scope(rows, range(4), "batch_vs_all") if (i < 4) != (j < 4)]
    slow = margin_sum(rows, pairs, margin)
    slow.backward()
    assert_close(sums.loss, slow)
    assert_close(sums.gradient_UD, slow_centers.grad[:4])
    gradient = torch.zeros(8, 4).index_copy(0, tile.close_K, tile.second_gradient())
    assert_close(gradient, slow_centers.grad[4:])
    assert 0 < len(tile.close_K) < 8
    assert 7 not in tile.close_K


def test_a_center_that_is_nan_shows_in_the_loss() -> None:
    centers = some_centers()
    centers[3] = torch.nan
    assert minimum_margin_loss(centers, MARGIN).isnan()
    assert TileOfPairs(as_batch(centers)[:2], as_batch(centers)[2:], MARGIN).loss.isnan()


@pytest.mark.parametrize("num_parts", [1, 2, 3, 10])
def test_parts_over_rows_sum_to_the_whole(num_parts: int) -> None:
    centers = some_centers().requires_grad_()
    borders = [len(centers) * part // num_parts for part in range(num_parts + 1)]
    parts = [minimum_margin_loss(centers, MARGIN, range(*block)) for block in pairwise(borders)]
    whole = minimum_margin_loss(centers, MARGIN)
    assert_close(sum(parts), whole)
    (gradient,) = torch.autograd.grad(sum(parts), centers)
    (expected,) = torch.autograd.grad(whole, centers)
    assert_close(gradient, expected)


def test_gradient_through_the_update_equals_finite_differences() -> None:
    centers = some_centers().double()
    labels = torch.tensor([0, 2, 2, 5, 6, 2, 5])
    features = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    assert minimum_margin_loss(after_update(features, labels, centers), MARGIN) > 0
    assert torch.autograd.gradcheck(
        lambda x: minimum_margin_loss(after_update(x, labels, centers), MARGIN), features, raise_exception=True
    )


def test_a_descent_step_on_the_features_moves_centers_apart() -> None:
    labels = torch.tensor([0, 1, 2, 2, 3])
    centers = some_centers()
    features = centers[labels].clone().requires_grad_()
    minimum_margin_loss(after_update(features, labels, centers), 100.0).backward()
    before = torch.pdist(after_update(features.detach(), labels, centers))
    after = torch.pdist(after_update(features.detach() - 0.01 * features.grad, labels, centers))
    assert after.mean() > before.mean()
    assert after.min() > before.min()


def test_repeated_samples_of_a_class_add_no_pairs() -> None:
    """Samples that sit on their centers leave those where they are, however many there are."""
    centers = some_centers()
    once, often = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1, 1, 2, 0, 1])
    losses = [minimum_margin_loss(after_update(centers[labels], labels, centers), MARGIN) for labels in (once, often)]
    assert_close(losses[1], losses[0])


def test_through_the_update_equals_the_loop() -> None:
    centers, labels = some_centers(), torch.tensor([4, 1, 1, 0, 4, 4])
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(6))
    expected = slow_loss(moved(centers.double(), [(features.double(), labels)], 0.5))
    assert_close(minimum_margin_loss(after_update(features, labels, centers), MARGIN), expected)


def test_distances_keep_their_digits_far_from_the_origin() -> None:
    """Without the mean taken off, float32 squares of 1e6 leave distances around 1 no correct digit."""
    centers = some_centers() + 1000.0
    exact = torch.cdist(centers.double(), centers.double()).square()
    assert_close(squared_distances(centers, centers), exact)


def test_distances_of_coincident_rows_are_never_negative() -> None:
    centers = torch.randn(50, 64, generator=torch.Generator().manual_seed(7))
    origin = centers.mean(0)
    rows = centers - origin
    unguarded = rows.square().sum(1, keepdim=True) + rows.square().sum(1) - 2.0 * rows @ rows.T
    assert unguarded.min() < 0.0  # rounding: what the guard is for
    assert squared_distances(centers, centers).min() == 0.0
