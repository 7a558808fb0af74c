"""The rule for margin and weight: by hand, by autograd, and under a change of scale."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.margin_rule import SHARE, CenterModel
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
    has_center = torch.arange(NUM_CLASSES) != 5
    return CenterModel(features, labels, centers, has_center, order, weight=0.003, rate=0.5)


def test_margin_by_hand() -> None:
    """Centers at 0, 1, 3 and 7, whose pairs are 1, 2, 3, 4, 6 and 7 apart; one at 6 has never moved."""
    centers = torch.tensor([[0.0], [1.0], [3.0], [6.0], [7.0]], dtype=torch.float64)
    has_center = torch.tensor([True, True, True, False, True])
    model = CenterModel(centers, torch.arange(5), centers, has_center, None, 0.003, 0.5)
    assert model.margin(0.5) == pytest.approx(3.5**2)
    assert model.margin(1.0) == 49.0


@pytest.mark.parametrize("beyond_batch", [False, True])
def test_share_is_that_of_autograd(model: CenterModel, beyond_batch: bool) -> None:
    margin, weight = 60.0, 1e-4
    squares = np.zeros(2)
    for ids in model.order.sample_ids(0, 0, model.order.steps_per_epoch, np.arange(BATCH)) % NUM_IMAGES:
        features, labels = model.features_ND[ids].requires_grad_(), model.labels_N[ids]
        center = 0.003 * 0.5 * (features - model.centers_CD[labels]).square().sum() / BATCH
        rows = {**dict(enumerate(model.centers_CD)), **moved(model.centers_CD, [(features, labels)], 0.5)}
        classes = set(labels.tolist())
        seen = [j for j in range(NUM_CLASSES) if j != 5 or j in classes]
        scope = "batch_vs_all" if beyond_batch else "batch"
        mml = weight * margin_sum(rows, pairs_in_scope(seen, classes, scope), margin)
        gradients = [torch.autograd.grad(loss, features, retain_graph=True)[0] for loss in (center, mml)]
        squares += [float(gradient.square().sum()) for gradient in gradients]
    expected = np.sqrt(squares[1] / squares[0])
    assert expected > 0 and model.share(margin, weight, beyond_batch=beyond_batch) == pytest.approx(expected)


def test_the_rule_follows_the_scale(model: CenterModel) -> None:
    """Embeddings three times as large: nine times the margin, and the same weight beside the same center loss."""
    scaled = replace(model, features_ND=3.0 * model.features_ND, centers_CD=3.0 * model.centers_CD)
    margin, weight = model.constants()
    assert model.share(margin, weight) == pytest.approx(SHARE)
    assert scaled.constants() == pytest.approx((9.0 * margin, weight))
    assert scaled.share(margin, weight) != pytest.approx(SHARE, rel=0.1)


def test_no_close_pair_is_an_error(model: CenterModel) -> None:
    with pytest.raises(DataError, match="no two classes of a step are closer"):
        model.weight_of(1e-9)
