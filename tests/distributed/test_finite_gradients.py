"""A gradient that is not finite on one rank stops all of them, before tables move."""

import pytest
import torch

from lightning_face.distributed.world import rank
from lightning_face.tables.placement import Placement
from tests.distributed.test_world_size_invariance import make_config, make_objective
from tests.ranks import run_ranks


def what_is_not_finite(placement: Placement, broken_rank: int) -> str | None:
    objective = make_objective(make_config("A", "sgd", placement))
    features = torch.randn(4, 4, generator=torch.Generator().manual_seed(rank())).requires_grad_()
    total = objective(features, torch.tensor([0, 3, 3, 9])).total
    (total * (float("nan") if rank() == broken_rank else 1.0)).backward()
    return objective.what_is_not_finite([])


@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_every_rank_knows(placement: Placement) -> None:
    assert run_ranks(what_is_not_finite, 2, placement, -1) == [None, None]
    assert run_ranks(what_is_not_finite, 2, placement, 1) == ["the features' gradient is not finite"] * 2
