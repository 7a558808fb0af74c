"""The rule for margin and weight: by hand, by autograd, and under a change of scale."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments import margin_rule
from experiments.center_model import CenterModel
from experiments.margin_rule import SHARE, constants, margin_of, share_of, weight_of
from lightning_face.data.identity_order import IdentityOrder
from lightning_face.errors import DataError
from tests.oracle import margin_sum, moved, pairs_in_scope

NUM_CLASSES, NUM_IMAGES, DIM, BATCH = 12, 60, 4, 20


@pytest.fixture
def model() -> CenterModel:
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(NUM_IMAGES) % NUM_CLASSES
    centers = 3.0 * torch.randn(NUM_CLASSES, DIM, generator=draw, dtype=torch.float64)
    features = centers[labels] + torch.randn(NUM_IMAGES, DIM, generator=draw, dtype=torch.float64)
    order = IdentityOrder(labels.numpy(), NUM_CLASSES, BATCH, seed=3, images_per_identity=2)
    ids = order.sample_ids(0, 0, order.steps_per_epoch, np.arange(BATCH)) % NUM_IMAGES
    steps = [(features[ids_G], labels[ids_G]) for ids_G in torch.from_numpy(ids)]
    return CenterModel(steps, centers, torch.arange(NUM_CLASSES) != 5, weight=0.003, rate=0.5)


def test_margin_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Centers at 0, 1, 3 and 7, whose pairs are 1, 2, 3, 4, 6 and 7 apart; one at 6 has never moved."""
    centers = torch.tensor([[0.0], [1.0], [3.0], [6.0], [7.0]], dtype=torch.float64)
    has_center = torch.tensor([True, True, True, False, True])
    model = CenterModel([], centers, has_center, 0.003, 0.5)
    assert margin_of(model, 0.5) == pytest.approx(3.5**2)
    assert margin_of(model, 1.0) == 49.0
    monkeypatch.setattr(margin_rule, "_MOST_CLASSES", 2)  # every second of the four: 0 and 3
    assert margin_of(model, 1.0) == 9.0


@pytest.mark.parametrize("beyond_batch", [False, True])
def test_share_is_that_of_autograd(model: CenterModel, beyond_batch: bool) -> None:
    margin, weight = 60.0, 1e-4
    squares = np.zeros(2)
    for of_step, labels in model.steps:
        features = of_step.clone().requires_grad_()
        center = 0.003 * 0.5 * (features - model.centers_CD[labels]).square().sum() / BATCH
        rows = {**dict(enumerate(model.centers_CD)), **moved(model.centers_CD, [(features, labels)], 0.5)}
        classes = set(labels.tolist())
        seen = [j for j in range(NUM_CLASSES) if j != 5 or j in classes]
        scope = "batch_vs_all" if beyond_batch else "batch"
        mml = weight * margin_sum(rows, pairs_in_scope(seen, classes, scope), margin)
        gradients = [torch.autograd.grad(loss, features, retain_graph=True)[0] for loss in (center, mml)]
        squares += [float(gradient.square().sum()) for gradient in gradients]
    expected = np.sqrt(squares[1] / squares[0])
    assert expected > 0 and share_of(model, margin, weight, beyond_batch=beyond_batch) == pytest.approx(expected)


def test_the_rule_follows_the_scale(model: CenterModel) -> None:
    """Embeddings three times as large: nine times the margin, and the same weight beside the same center loss."""
    steps = [(3.0 * features, labels) for features, labels in model.steps]
    scaled = replace(model, steps=steps, centers_CD=3.0 * model.centers_CD)
    margin, weight = constants(model)
    assert share_of(model, margin, weight) == pytest.approx(SHARE)
    assert constants(scaled) == pytest.approx((9.0 * margin, weight))
    assert share_of(scaled, margin, weight) != pytest.approx(SHARE, rel=0.1)


def test_no_close_pair_is_an_error(model: CenterModel) -> None:
    with pytest.raises(DataError, match="no two classes of a step are closer"):
        weight_of(model, 1e-9)
