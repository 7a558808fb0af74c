"""A step that is left out moves nothing, whatever the objective and whatever broke it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lightning_face.losses import heads
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.contrastive import ContrastiveConfig
from lightning_face.objectives.marginal import MarginalConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.range_loss import RangeConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.objectives.triplet import TripletConfig
from tests.unit.objectives.test_objective import make_config, make_objective, some_steps

HEADS = [name for name in heads.__all__ if name not in ("CosineHead", "Head", "Samples", "State")]
MML = {
    "batch_vs_all": MinimumMarginConfig(scope="batch_vs_all", margin=3.0),
    "all": MinimumMarginConfig(scope="all", mode="B", margin=3.0, center_rate=0.01),
}
PAIRS = {
    "contrastive": ContrastiveConfig(),
    "triplet": TripletConfig(),
    "triplet of hardest": TripletConfig(mining="batch_hard", margin=None),
    "marginal": MarginalConfig(),
    "range": RangeConfig(),
}
CONFIGS: dict[str, dict[str, Any]] = {
    **{name: {"softmax": SoftmaxConfig(head=getattr(heads, name)(), placement="sharded")} for name in HEADS},
    "replicated": {"softmax": SoftmaxConfig(head=heads.UniFace(), placement="replicated")},
    "sampled": {"softmax": SoftmaxConfig(sample_rate=0.5)},
    **{name: {"mml": mml} for name, mml in MML.items()},
    **{name: {name.split()[0]: pairs} for name, pairs in PAIRS.items()},
}


def train(config: ObjectiveConfig, broken: float | None) -> dict[str, torch.Tensor]:
    """The state after two steps, and between them one with a number that breaks it, which is left out."""
    objective = make_objective(config)
    first, second, third = some_steps(3, accumulation=2)
    for batches in (first, second, third) if broken is not None else (first, third):
        running = {name: value.clone() for name, value in objective.head_state().items()}
        for number, (features_BD, labels_B) in enumerate(batches):
            leaf_BD = features_BD.clone()
            if batches is second and number == 0:
                leaf_BD[2, 1] = broken
            leaf_BD.requires_grad_()
            noise_B = torch.linspace(-1.0, 1.0, len(labels_B))
            objective(leaf_BD, labels_B, accumulation=2, noise_B=noise_B).total.backward()
        what = objective.what_is_not_finite([])
        if batches is second:
            assert what is not None
            objective.forget()
            for name, value in objective.head_state().items():
                value.copy_(running[name])
        else:
            assert what is None
            objective.step(0.1)
    return objective.state()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", CONFIGS)
def test_as_if_there_had_been_no_such_step(name: str, broken: float) -> None:
    config = replace(make_config(), **CONFIGS[name])
    expected, actual = (train(config, number) for number in (None, broken))
    assert [name for name, value in expected.items() if not torch.equal(actual[name], value)] == []
