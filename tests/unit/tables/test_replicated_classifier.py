"""The table of classifier weights on one rank."""

import pytest
import torch

from lightning_face.optim.row_config import RowOptimizerConfig, RowOptimizerKind
from lightning_face.tables.replicated_classifier import ReplicatedClassifier
from tests.oracle import optimizer_of


def make_classifier(kind: RowOptimizerKind = "sgd") -> ReplicatedClassifier:
    optimizer = RowOptimizerConfig(kind=kind, lr_multiplier=2.0)
    return ReplicatedClassifier(4, 3, optimizer=optimizer, init_std=1.0, seed=2, device=torch.device("cpu"))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_steps_equal_torch_with_the_multiplied_rate(kind: RowOptimizerKind) -> None:
    table = make_classifier(kind)
    parameter = torch.nn.Parameter(table.rows.detach().clone())
    optimizer = optimizer_of(RowOptimizerConfig(kind=kind), parameter)
    for step, rate in enumerate((0.1, 0.05, 0.2)):
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        (table.rows * inputs).square().sum().backward()
        table.step(rate)
        assert table.rows.grad is None
        optimizer.param_groups[0]["lr"] = 2.0 * rate
        optimizer.zero_grad()
        (parameter * inputs).square().sum().backward()
        optimizer.step()
        assert torch.equal(table.rows, parameter)


def test_gradients_of_several_batches_add_up() -> None:
    once, twice = make_classifier(), make_classifier()
    (3.0 * once.rows).sum().backward()
    for factor in (1.0, 2.0):
        (factor * twice.rows).sum().backward()
    once.step(0.1)
    twice.step(0.1)
    assert torch.equal(once.rows, twice.rows)


def test_nothing_moves_without_a_gradient() -> None:
    table = make_classifier()
    before = table.rows.detach().clone()
    table.step(0.1)
    assert torch.equal(table.rows, before)


def test_state_is_the_table_itself() -> None:
    table = make_classifier("adamw")
    state = table.state()
    assert set(state) == {"classifier", "classifier.exp_avg", "classifier.exp_avg_sq", "classifier.step"}
    state["classifier"].fill_(7.0)
    assert (table.rows == 7.0).all()
    assert not state["classifier"].requires_grad
