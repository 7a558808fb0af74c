"""Promise P3 for a thousand ranks and ten million classes, one rank of them at a time, its collectives being faked.

torch's fake process group moves nothing: sums hold this rank's part alone, and what is gathered is filled in here.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from benchmarks.counting import LiveMemory, Traffic
from lightning_face.distributed import collectives
from lightning_face.hashing import uniform
from lightning_face.losses import at_once
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.loss_value import LossValue
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.tables import memory

NUM_RANKS, NUM_CLASSES, LOCAL_BATCH, DIM = 1024, 10_000_000, 1, 512
FLOAT_BYTES, GLOBAL_BATCH = 4, NUM_RANKS * LOCAL_BATCH
FEATURE_BYTES = FLOAT_BYTES * GLOBAL_BATCH * DIM
SAMPLE_RATE, SEED = 0.1, 1

_CENTER = CenterConfig(weight=0.1)
EXACT = ObjectiveConfig(center=_CENTER, mml=MinimumMarginConfig(weight=0.1, margin=100.0))
WIDE = ObjectiveConfig(
    SoftmaxConfig(sample_rate=SAMPLE_RATE),
    _CENTER,
    MinimumMarginConfig(weight=0.1, margin=100.0, scope="batch_vs_all"),  # above every distance: the most work
)
"""A sample of the classes for softmax, all of them for MML."""


class Walk(NamedTuple):
    """What one rank met in a step."""

    state: dict[str, Tensor]
    moved: dict[str, Tensor]
    gradient: Tensor
    loss: LossValue
    memory: LiveMemory
    sent: int


@pytest.fixture(params=[0, NUM_RANKS // 2, NUM_RANKS - 1], ids=["first", "middle", "last"])
def rank(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Be one of many ranks, each on a node of its own."""
    monkeypatch.setattr(memory, "gather_objects", lambda own: [own])
    reduce_scatter = collectives._reduce_scatter

    def keep_own_part(own: Tensor, every: Tensor) -> None:
        reduce_scatter(own, every)
        own.copy_(every[request.param * len(own) :][: len(own)])

    monkeypatch.setattr(collectives, "_reduce_scatter", keep_own_part)
    dist.init_process_group("fake", rank=request.param, world_size=NUM_RANKS, store=FakeStore())
    yield request.param
    dist.destroy_process_group()


def walk(config: ObjectiveConfig, rank: int, num_classes: int, monkeypatch: pytest.MonkeyPatch) -> Walk:
    """One step after all centers have moved once; each rank of the batch sees the first classes that it owns itself."""
    firsts = torch.arange(NUM_RANKS) * num_classes // NUM_RANKS
    labels_G = (firsts.unsqueeze(1) + torch.arange(LOCAL_BATCH)).flatten()
    features = torch.randn(LOCAL_BATCH, DIM, generator=torch.Generator().manual_seed(1)).requires_grad_()
    all_gather = collectives._all_gather

    def gather(gathered: Tensor, own: Tensor) -> None:
        all_gather(gathered, own)
        gathered.copy_(own.repeat(NUM_RANKS, 1))
        if gathered.dtype == torch.uint8:  # features, and labels behind them
            labels = labels_G.view(torch.uint8).view(NUM_RANKS, -1)
            gathered[:, -labels.shape[1] :] = labels

    objective = Objective(config, num_classes=num_classes, dim=DIM, seed=SEED, device=torch.device("cpu"))
    objective.state()["centers.moved_at"].zero_()
    before = {name: tensor.clone() for name, tensor in objective.state().items()}
    with monkeypatch.context() as patch, Traffic() as traffic, LiveMemory() as live:
        patch.setattr(collectives, "_all_gather", gather)
        loss = objective(features, labels_G[rank * LOCAL_BATCH :][:LOCAL_BATCH])
        loss.total.backward()
        objective.step(0.1)
    assert features.grad is not None
    moved = {
        name: (tensor != before[name]).any(1).nonzero().flatten()
        for name, tensor in objective.state().items()
        if tensor.ndim == 2
    }
    return Walk(objective.state(), moved, features.grad, loss, live, traffic.num_bytes.total())


def own_share(rank: int) -> range:
    return range(NUM_CLASSES * rank // NUM_RANKS, NUM_CLASSES * (rank + 1) // NUM_RANKS)


def assert_holds_and_allocates_its_share(step: Walk, rank: int, counters: set[str]) -> None:
    share = len(own_share(rank))
    rows = {name: (share, DIM) for name in ("classifier", "classifier.momentum_buffer", "centers")}
    shapes = {name: tuple(tensor.shape) for name, tensor in step.state.items()}
    assert shapes == {**rows, "centers.moved_at": (share,), **dict.fromkeys(counters, ())}
    assert step.memory.largest <= max(FEATURE_BYTES, FLOAT_BYTES * at_once.NUMBERS_ON_CPU)
    assert step.memory.peak < 20 * FEATURE_BYTES
    assert step.loss.total.isfinite() and step.gradient.isfinite().all()
    assert step.moved["centers"].tolist() == list(range(LOCAL_BATCH))


def test_a_rank_of_a_thousand_holds_and_allocates_its_share(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = walk(EXACT, rank, NUM_CLASSES, monkeypatch)
    assert_holds_and_allocates_its_share(step, rank, {"centers.step"})
    assert len(step.moved["classifier"]) == len(own_share(rank))  # every class is a negative


@pytest.mark.parametrize("rank", [NUM_RANKS // 2], indirect=True)
def test_a_step_costs_the_same_for_five_times_the_classes(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (walk(EXACT, rank, num_classes, monkeypatch) for num_classes in (NUM_CLASSES // 5, NUM_CLASSES))
    assert few.sent == many.sent
    gathered_and_returned = 2 * FEATURE_BYTES
    assert gathered_and_returned < many.sent < 2 * gathered_and_returned
    assert few.memory.peak == pytest.approx(many.memory.peak, rel=0.1)  # last chunks differ


@pytest.mark.parametrize("rank", [NUM_RANKS // 2], indirect=True)
def test_so_it_is_with_sampled_classes_and_mml_against_all(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (walk(WIDE, rank, num_classes, monkeypatch) for num_classes in (NUM_CLASSES // 5, NUM_CLASSES))
    assert few.sent == many.sent < 4 * FEATURE_BYTES
    assert_holds_and_allocates_its_share(many, rank, {"centers.step", "classifier.num_steps"})
    numbers = uniform(SEED, "sampled", 0, np.array(own_share(rank)))
    assert many.moved["classifier"].tolist() == sorted({*range(LOCAL_BATCH), *np.flatnonzero(numbers < SAMPLE_RATE)})
    within, num_outside = LOCAL_BATCH * (GLOBAL_BATCH - 1), len(own_share(rank)) - LOCAL_BATCH
    close = many.loss.facts["mml_close_pairs"] / NUM_RANKS  # each rank is given this one's part, and adds all up
    assert close == pytest.approx(within + 2 * GLOBAL_BATCH * num_outside, rel=1e-6)
