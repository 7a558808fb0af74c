"""The three modes of MML: which of features and centers it moves."""

import torch
from torch import Tensor

from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from tests.oracle import assert_close

LABELS = torch.tensor([0, 1, 1, 3])
FEATURES = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))


def make_objective(mml: MinimumMarginConfig | None) -> Objective:
    config = ObjectiveConfig(center=CenterConfig(weight=0.1, init_std=0.5), mml=mml)
    return Objective(config, num_classes=5, dim=3, seed=1, device=torch.device("cpu"))


def one_step(mml: MinimumMarginConfig | None) -> tuple[Tensor, Tensor]:
    """Gradient of the features, and the centers after the step."""
    objective, leaf = make_objective(mml), FEATURES.clone().requires_grad_()
    objective(leaf, LABELS).total.backward()
    objective.step(0.1)
    return leaf.grad, objective.state()["centers"]


def test_mode_a_moves_features_and_leaves_the_centers_to_wens_rule() -> None:
    gradient, centers = one_step(MinimumMarginConfig(weight=0.1, margin=50.0, mode="A"))
    gradient_without, centers_without = one_step(None)
    assert (gradient - gradient_without).abs().min() > 0
    assert torch.equal(centers, centers_without)


def test_mode_b_moves_centers_apart_and_leaves_the_features() -> None:
    mml = MinimumMarginConfig(weight=0.1, margin=50.0, mode="B", center_rate=0.01)
    gradient, centers = one_step(mml)
    gradient_without, centers_without = one_step(None)
    assert_close(gradient, gradient_without)
    present, absent = [0, 1, 3], [2, 4]
    assert torch.equal(centers[absent], centers_without[absent])
    assert torch.pdist(centers[present]).min() > torch.pdist(centers_without[present]).min()


def test_mode_c_only_reports() -> None:
    gradient, centers = one_step(MinimumMarginConfig(weight=0.1, margin=50.0, mode="C"))
    gradient_without, centers_without = one_step(None)
    assert_close(gradient, gradient_without)
    assert torch.equal(centers, centers_without)
    values = [
        make_objective(MinimumMarginConfig(weight=0.1, margin=50.0, mode=mode))(FEATURES, LABELS).terms["mml"]
        for mode in ("A", "C")
    ]
    assert values[0] > 0
    assert torch.equal(values[0], values[1])


def test_one_class_costs_nothing_in_either_reduction() -> None:
    for reduction in ("sum", "mean"):
        objective = make_objective(MinimumMarginConfig(reduction=reduction))
        assert objective(FEATURES, torch.full((4,), 2)).terms["mml"].item() == 0.0
