"""What heads carry from step to step goes through a checkpoint, and what they need they are given."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_face.checkpoint.tables import load_tables, save_tables
from lightning_face.errors import ConfigError
from lightning_face.losses.heads import ArcFace, CosFace
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.loss_value import LossValue
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.optim.row_config import RowOptimizerConfig
from tests.heads import CASES, Batch, losses_of
from tests.oracle import assert_close

NUM_CLASSES, DIM = 5, 4
COUNTS = torch.tensor([4, 9, 1, 1, 2])

STATES = {
    "softmax": {},
    "arcface": {},
    "adaface": {"mean", "std"},
    "curricularface": {"t"},
    "sphereface": {"step"},
    "uniface": {"bias", "bias.exp_avg", "bias.exp_avg_sq", "bias.step"},
    "sphereface2": {"bias", "bias.exp_avg", "bias.exp_avg_sq", "bias.step"},
}


def make_objective(name: str) -> Objective:
    optimizer = RowOptimizerConfig(kind="adamw", weight_decay=0.01)
    config = ObjectiveConfig(SoftmaxConfig(head=CASES[name].head(), init_std=1.0, optimizer=optimizer), center=None)
    return Objective(config, num_classes=NUM_CLASSES, dim=DIM, seed=1, device=torch.device("cpu"))


def batch_of(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    features = torch.randn(6, DIM, generator=generator)
    return Batch(features, torch.randint(NUM_CLASSES, (6,), generator=generator), torch.zeros(6), COUNTS)


def train(objective: Objective, step: int) -> LossValue:
    batch = batch_of(step)
    loss = objective(batch.features.requires_grad_(), batch.labels)
    loss.total.backward()
    objective.step(0.1)
    return loss


@pytest.mark.parametrize("name", STATES)
def test_a_run_that_goes_on_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    straight, stopped, resumed = (make_objective(name) for _ in range(3))
    for step in range(2):
        train(straight, step)
        train(stopped, step)
    running = {key.removeprefix("softmax.head.") for key in stopped.state() if key.startswith("softmax.head.")}
    assert running == set(STATES[name])
    assert all(not stopped.shapes()[f"softmax.head.{key}"] for key in running), "single numbers, no rows of a class"
    files = save_tables(tmp_path, 0, stopped.state(), stopped.held())
    load_tables(tmp_path, files, resumed.state(), resumed.held())
    assert torch.equal(train(resumed, 2).total, train(straight, 2).total)
    for key, value in straight.state().items():
        assert torch.equal(resumed.state()[key], value), key


@pytest.mark.parametrize("name", STATES)
def test_what_runs_is_logged_as_it_was_used(name: str) -> None:
    objective, case = make_objective(name), CASES[name]
    train(objective, 0)
    held = {key.removeprefix("softmax.head."): value.clone() for key, value in objective.state().items()}
    state = {key: float(held[key]) for key in STATES[name] if "." not in key}
    facts = train(objective, 1).facts  # the step has moved biases on, and counted
    losses_of(case, batch_of(1), held["classifier"], state, scale=1.0)
    figures = {"softmax", "softmax_middle", "accuracy", "accuracy_middle"}
    assert facts.keys() - figures == case.facts(state).keys()
    for key, used in case.facts(state).items():
        assert_close(facts[key], used)


def loss_of_each_class(config: SoftmaxConfig, counts: Tensor | None) -> Tensor:
    """Of one feature, labelled as each class in turn."""
    objective = Objective(
        ObjectiveConfig(config, center=None),
        num_classes=NUM_CLASSES,
        dim=DIM,
        seed=1,
        device=torch.device("cpu"),
        class_counts_C=counts,
    )
    features = torch.ones(1, DIM)
    values = [objective(features, torch.tensor([c])).total for c in range(NUM_CLASSES)]
    return torch.stack(values)


def test_the_rarest_class_has_the_whole_margin() -> None:
    """LDAM: a class with n images has m (n_min / n)^(1/4)."""
    head = CosFace(scale=1.0, margin=0.5, rarity_power=0.25)
    assert head.needs_class_counts
    losses = loss_of_each_class(SoftmaxConfig(head=head, init_std=1.0), COUNTS)
    alike = [
        loss_of_each_class(SoftmaxConfig(head=CosFace(scale=1.0, margin=0.5 * n**-0.25), init_std=1.0), None)[c]
        for c, n in enumerate(COUNTS.tolist())
    ]
    assert torch.allclose(losses, torch.stack(alike))


def test_rows_of_zeros_have_no_direction() -> None:
    with pytest.raises(ConfigError, match=r"^softmax.init_std must be above 0 with softmax.head: rows of zeros"):
        SoftmaxConfig(head=ArcFace(), init_std=0.0)
    assert SoftmaxConfig(init_std=0.0).init_std == 0.0
