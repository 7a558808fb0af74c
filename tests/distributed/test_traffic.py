"""Promise P3: what a step exchanges for the centers depends on batch and dimension, not on the number of classes."""

from collections import Counter

import torch

from benchmarks.counting import Traffic
from lightning_face.distributed.collectives import all_gather_rows, all_reduce_sum_
from lightning_face.distributed.world import rank, world_size
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from tests.ranks import run_ranks

LOCAL_BATCH, DIM, NUM_RANKS = 6, 8, 2
LABELS = [3, 3, 50, 7, 99, 3, 7, 20, 20, 3, 61, 98]
FLOAT_BYTES, INT_BYTES = 4, 8


def traffic_of_a_step(num_classes: int) -> Counter[str]:
    config = ObjectiveConfig(None, CenterConfig(weight=0.1), MinimumMarginConfig())
    objective = Objective(config, num_classes=num_classes, dim=DIM, seed=1, device=torch.device("cpu"))
    own = slice(rank() * LOCAL_BATCH, (rank() + 1) * LOCAL_BATCH)
    features = torch.randn(len(LABELS), DIM, generator=torch.Generator().manual_seed(1))[own].requires_grad_()
    with Traffic() as traffic:
        objective(features, torch.tensor(LABELS)[own]).total.backward()
        objective.step(0.1)
    return traffic.num_bytes


def traffic_of_known_tensors() -> Counter[str]:
    with Traffic() as traffic:
        all_reduce_sum_(torch.zeros(10))
        all_gather_rows(torch.zeros(3, dtype=torch.int64))
    assert world_size() == NUM_RANKS
    return traffic.num_bytes


def test_counter_sees_all_bytes() -> None:
    gathered = (1 + NUM_RANKS) * 3 * INT_BYTES  # what is given, and where it arrives
    for counted in run_ranks(traffic_of_known_tensors, NUM_RANKS):
        assert sorted(counted.values()) == sorted([10 * FLOAT_BYTES, gathered])


def test_centers_exchange_the_same_for_a_hundred_and_a_hundred_thousand_classes() -> None:
    few, many = (run_ranks(traffic_of_a_step, NUM_RANKS, num_classes) for num_classes in (100, 100_000))
    assert few == many
    num_present = len(set(LABELS))
    sums_and_their_gradient = 2 * num_present * DIM * FLOAT_BYTES
    labels = (1 + NUM_RANKS) * LOCAL_BATCH * INT_BYTES
    two_terms, two_facts, two_figures = 2, 2, 2 * 2 * 3  # sums and counts in head, middle and tail
    numbers = (1 + NUM_RANKS) * (two_terms + two_facts + two_figures) * FLOAT_BYTES
    for counted in many:
        assert counted.total() == sums_and_their_gradient + labels + numbers
