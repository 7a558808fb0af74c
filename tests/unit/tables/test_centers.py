"""The table of centers on one rank."""

import pytest
import torch

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.losses import center_loss
from lightning_face.tables.centers import NEVER, Centers, Init
from lightning_face.tables.placement import Placement, make_centers
from tests.oracle import assert_close, moved


def make_table(placement: Placement, init: Init = "normal") -> Centers:
    return make_centers(placement, 6, 3, rate=0.5, init=init, init_std=1.0, seed=2, device=torch.device("cpu"))


@pytest.fixture(params=["replicated", "sharded"])
def table(request: pytest.FixtureRequest) -> Centers:
    return make_table(request.param)


@pytest.fixture(params=["replicated", "sharded"])
def empty(request: pytest.FixtureRequest) -> Centers:
    """No class has a center yet."""
    return make_table(request.param, "first_seen")


def observed(table: Centers, features: torch.Tensor, labels: list[int], differentiable: bool = False) -> torch.Tensor:
    """Observe a batch; where its centers will move to."""
    batch = GlobalBatch(features, torch.tensor(labels))
    return table.moved(table.observe(batch, differentiable=differentiable))


def some_features(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_observe_tells_where_step_will_move_the_rows(table: Centers) -> None:
    before = table.rows_HD.clone()
    announced = observed(table, some_features(3), [4, 0, 4])
    assert torch.equal(table.rows_HD, before)
    assert table.step().tolist() == [0, 4]
    assert torch.equal(table.rows_HD[[0, 4]], announced)
    absent = [1, 2, 3, 5]
    assert torch.equal(table.rows_HD[absent], before[absent])


def test_several_batches_move_the_centers_once_by_all_their_samples(table: Centers) -> None:
    batches = [(some_features(3, 1), [4, 0, 4]), (some_features(3, 2), [4, 2, 2])]
    expected = moved(table.rows_HD.double(), [(x.double(), torch.tensor(y)) for x, y in batches], table.rate)
    for features, labels in batches:
        observed(table, features, labels)
    classes = table.step()
    assert classes.tolist() == list(expected)
    assert_close(table.rows_HD[classes], torch.stack(list(expected.values())))


def test_a_step_forgets_what_it_observed(table: Centers) -> None:
    for seed in range(2):
        before = table.rows_HD.double()
        features, labels = some_features(2, seed), [seed, 3]
        observed(table, features, labels)
        classes = table.step()
        expected = moved(before, [(features.double(), torch.tensor(labels))], table.rate)
        assert_close(table.rows_HD[classes], torch.stack(list(expected.values())))


@pytest.mark.parametrize("differentiable", [True, False])
def test_gradient_flows_only_where_asked(table: Centers, differentiable: bool) -> None:
    features = some_features(2).requires_grad_()
    announced = observed(table, features, [1, 1], differentiable)
    assert announced.requires_grad == differentiable
    if differentiable:
        announced.sum().backward()
        assert_close(features.grad, torch.full((2, 3), 0.5 / 3))
    table.step()
    assert not table.rows_HD.requires_grad


def test_pairs_give_each_sample_its_center(table: Centers) -> None:
    batch = GlobalBatch(some_features(3), torch.tensor([5, 0, 5]))
    labels, features, centers = table.pairs(batch)
    assert torch.equal(labels, batch.labels_B)
    assert torch.equal(features, batch.features_BD)
    assert torch.equal(centers, table.rows_HD[[5, 0, 5]])


def test_rows_are_given_and_shifted_by_class(table: Centers) -> None:
    before, classes = table.rows_HD.clone(), torch.tensor([1, 4])
    table.shift(classes, table.rows_of(classes))
    assert torch.equal(table.rows_HD[classes], 2.0 * before[classes])
    assert torch.equal(table.rows_HD[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


def test_it_is_known_when_a_center_last_moved(table: Centers) -> None:
    for labels in ([4, 0], [4, 2], [2]):
        observed(table, some_features(len(labels)), labels)
        table.step()
    assert table.num_steps == 3
    assert table.moved_at_H.tolist() == [0, NEVER, 2, NEVER, 1, NEVER]


def test_state_is_the_table_itself(table: Centers) -> None:
    table.state()["centers"].fill_(7.0)
    observed(table, torch.full((1, 3), 7.0), [2])
    table.step()
    assert (table.rows_HD == 7.0).all()
    assert table.state()["centers"].data_ptr() == table.rows_HD.data_ptr()


def test_a_class_that_is_first_seen_gets_the_mean_of_all_its_samples_of_the_step(empty: Centers) -> None:
    """Over micro-batches; from the next step on its center moves by Wen's rule."""
    batches = [(some_features(3, 1), [4, 0, 4]), (some_features(3, 2), [4, 2, 2])]
    for features, labels in batches:
        observed(empty, features, labels)
    empty.step()
    (first, _), (second, _) = batches
    assert_close(empty.rows_HD[4], (first[0] + first[2] + second[0]) / 3)
    assert_close(empty.rows_HD[2], second[1:].mean(0))
    assert_close(observed(empty, some_features(1), [4])[0], 0.75 * empty.rows_HD[4] + 0.25 * some_features(1)[0])


def test_a_class_without_a_center_costs_nothing_until_it_has_one(empty: Centers) -> None:
    batch = GlobalBatch(some_features(3), torch.tensor([5, 0, 5]))
    observed(empty, some_features(1), [0])
    assert [len(part) for part in empty.pairs(batch)] == [0, 0, 0]  # nor within the step in which it is first seen
    empty.step()
    _, features, centers = empty.pairs(batch)
    assert torch.equal(features, batch.features_BD[1:2]) and torch.equal(centers, empty.rows_HD[[0]])


@pytest.mark.parametrize("init", ["normal", "first_seen"])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_gradients_of_unit_features(placement: Placement, init: Init) -> None:
    """Of center loss and of the moved centers, classes 4 and 2 of which may have none before."""
    table = make_table(placement, init)
    table.rows_HD = table.rows_HD.double()
    table.moved_at_H[0] = 0

    def values(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch = GlobalBatch(features, torch.tensor([4, 0, 4, 2, 0])).unit
        return center_loss(*table.pairs(batch)[1:]).sum(), table.moved(table.observe(batch, differentiable=True))

    assert torch.autograd.gradcheck(values, some_features(5).double().requires_grad_())
