"""Features of zeros, of a dead ReLU or a black image, get no gradient by way of a direction, which they do not have."""

import pytest
import torch
from torch import Tensor

from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.contrastive import ContrastiveConfig
from lightning_face.objectives.marginal import MarginalConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.range_loss import RangeConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.objectives.triplet import TripletConfig
from lightning_face.tables.placement import Placement
from tests.heads import CASES

NUM_CLASSES, DIM = 5, 4
LABELS = torch.tensor([0, 1, 1, 0, 4, 0])
COUNTS = torch.tensor([9, 4, 1, 1, 2])
ZEROS = [2, 5]
"""Samples of zeros; beside others of their classes."""


def center_of(placement: Placement) -> CenterConfig:
    return CenterConfig(weight=1.0, placement=placement, normalise=True, init_std=1.0)


MML = MinimumMarginConfig(1.0, margin=4.0)

CONFIGS = {
    "center, replicated": ObjectiveConfig(None, center_of("replicated")),
    "center, sharded": ObjectiveConfig(None, center_of("sharded")),
    "mml, replicated": ObjectiveConfig(None, center_of("replicated"), MML),
    "mml, sharded": ObjectiveConfig(None, center_of("sharded"), MML),
    "contrastive": ObjectiveConfig(None, None, contrastive=ContrastiveConfig(normalise=True)),
    "triplet": ObjectiveConfig(None, None, triplet=TripletConfig(mining="batch_all")),
    "triplet, not squared": ObjectiveConfig(None, None, triplet=TripletConfig(mining="batch_hard", squared=False)),
    "marginal": ObjectiveConfig(None, None, marginal=MarginalConfig()),
    "range": ObjectiveConfig(None, None, range=RangeConfig(margin=4.0, normalise=True)),
}


def gradient_of(config: ObjectiveConfig) -> Tensor:
    """Of the features, in the second of two steps: by then the tables have moved by zeros too."""
    device = torch.device("cpu")
    objective = Objective(config, num_classes=NUM_CLASSES, dim=DIM, seed=1, device=device, class_counts_C=COUNTS)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        features = torch.randn(len(LABELS), DIM, generator=generator)
        features[ZEROS] = 0.0
        features.requires_grad_()
        noise = torch.randn(len(LABELS), generator=generator)
        objective(features, LABELS, noise_B=noise).total.backward()
        objective.step(0.1)
        assert all(bool(value.isfinite().all()) for value in objective.state().values())
    return features.grad


@pytest.mark.parametrize("placement", ["replicated", "sharded"])
@pytest.mark.parametrize("name", CASES)
def test_heads(name: str, placement: Placement) -> None:
    head = CASES[name].head()
    config = SoftmaxConfig(head=head, placement=placement, init_std=1.0)
    gradient = gradient_of(ObjectiveConfig(config, center=None))
    assert bool(gradient.isfinite().all()) and gradient.abs().max() < 1e3
    assert bool((gradient.abs().amax(1) > 0)[[0, 1, 3, 4]].all())
    if head.unit_features:
        assert not gradient[ZEROS].any()


@pytest.mark.parametrize("name", CONFIGS)
def test_terms_over_unit_features(name: str) -> None:
    gradient = gradient_of(CONFIGS[name])
    assert bool(gradient.isfinite().all()) and gradient.abs().max() > 0
    assert not gradient[ZEROS].any()
