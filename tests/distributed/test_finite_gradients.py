"""A gradient that is not finite on one rank stops all of them, before tables move."""

import pytest
import torch

from lightning_face.distributed.world import rank
from lightning_face.tables.placement import Placement
from tests.distributed.test_world_size_invariance import make_config, make_objective
from tests.ranks import run_ranks


def finite_or_not(placement: Placement, broken_rank: int) -> bool:
    objective = make_objective(make_config("A", "sgd", placement))
    features = torch.randn(4, 4, generator=torch.Generator().manual_seed(rank())).requires_grad_()
    total = objective(features, torch.tensor([0, 3, 3, 9])).total
    (total * (float("nan") if rank() == broken_rank else 1.0)).backward()
    return objective.gradients_are_finite()


@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_every_rank_knows(placement: Placement) -> None:
    assert run_ranks(finite_or_not, 2, placement, -1) == [True, True]
    assert run_ranks(finite_or_not, 2, placement, 1) == [False, False]
