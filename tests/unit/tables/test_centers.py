"""The table of centers on one rank."""

import pytest
import torch

from lightning_face.tables.centers import ReplicatedCenters
from tests.oracle import assert_close, moved


def make_centers(rate: float = 0.5) -> ReplicatedCenters:
    return ReplicatedCenters(6, 3, rate=rate, init_std=1.0, seed=2, device=torch.device("cpu"))


def some_features(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_observe_tells_where_step_will_move_the_rows() -> None:
    table, labels = make_centers(), torch.tensor([4, 0, 4])
    before = table.rows_CD.clone()
    announced = table.observe(some_features(3), labels, differentiable=False)
    assert torch.equal(table.rows_CD, before)
    assert table.step().tolist() == [0, 4]
    assert torch.equal(table.rows_CD[[0, 4]], announced)
    absent = [1, 2, 3, 5]
    assert torch.equal(table.rows_CD[absent], before[absent])


def test_several_batches_move_the_centers_once_by_all_their_samples() -> None:
    table = make_centers()
    batches = [(some_features(3, 1), torch.tensor([4, 0, 4])), (some_features(3, 2), torch.tensor([4, 2, 2]))]
    expected = moved(table.rows_CD.double(), [(x.double(), y) for x, y in batches], table.rate)
    for features, labels in batches:
        table.observe(features, labels, differentiable=False)
    classes = table.step()
    assert classes.tolist() == list(expected)
    assert_close(table.rows_CD[classes], torch.stack(list(expected.values())))


def test_a_step_forgets_what_it_observed() -> None:
    table = make_centers()
    for seed in range(2):
        before = table.rows_CD.double()
        features, labels = some_features(2, seed), torch.tensor([seed, 3])
        table.observe(features, labels, differentiable=False)
        classes = table.step()
        expected = moved(before, [(features.double(), labels)], table.rate)
        assert_close(table.rows_CD[classes], torch.stack(list(expected.values())))


@pytest.mark.parametrize("differentiable", [True, False])
def test_gradient_flows_only_where_asked(differentiable: bool) -> None:
    table, features = make_centers(), some_features(2).requires_grad_()
    announced = table.observe(features, torch.tensor([1, 1]), differentiable=differentiable)
    assert announced.requires_grad == differentiable
    if differentiable:
        announced.sum().backward()
        assert_close(features.grad, torch.full((2, 3), 0.5 / 3))
    table.step()
    assert not table.rows_CD.requires_grad


def test_of_gives_each_sample_its_center() -> None:
    table = make_centers()
    assert torch.equal(table.of(torch.tensor([5, 0, 5])), table.rows_CD[[5, 0, 5]])


def test_state_is_the_table_itself() -> None:
    table = make_centers()
    table.state()["centers"].fill_(7.0)
    table.observe(torch.full((1, 3), 7.0), torch.tensor([2]), differentiable=False)
    table.step()
    assert (table.rows_CD == 7.0).all()
    assert table.state()["centers"].data_ptr() == table.rows_CD.data_ptr()
