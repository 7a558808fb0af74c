"""All ranks know the same numbers at the same step, and none waits for another within a step."""

import pytest
import torch
import torch.distributed as dist

from lightning_face.distributed.step_agreement import StepAgreement
from lightning_face.distributed.world import rank, world_size
from tests.ranks import run_ranks


def seen_at_each_boundary(told: list[tuple[int, int, str, int]], num_steps: int) -> list[tuple[int, int, int]]:
    """What this rank knows at each boundary, where at given steps given ranks tell a number."""
    agreement = StepAgreement("stop", "written")
    seen = []
    for step in range(num_steps):
        for _, _, name, number in [one for one in told if one[:2] == (step, rank())]:
            agreement.tell(name, number)
        agreement.exchange()
        seen.append((agreement.largest("stop"), agreement.smallest("written"), agreement.largest("written")))
    agreement.close()
    return seen


def test_ranks_know_the_same_at_the_same_boundary() -> None:
    told = [(1, 1, "stop", 15), (0, 0, "written", 7), (2, 1, "written", 7), (3, 0, "written", -2)]
    seen = run_ranks(seen_at_each_boundary, 2, told, 5)
    assert seen[0] == seen[1] == [(0, 0, 0), (0, 0, 7), (15, 0, 7), (15, 7, 7), (15, -2, 7)]


def test_one_rank_knows_its_own_numbers_at_once() -> None:
    told = [(1, 0, "stop", 15), (2, 0, "written", 3)]
    assert run_ranks(seen_at_each_boundary, 1, told, 3) == [[(0, 0, 0), (15, 0, 0), (15, 3, 3)]]


def boundary_that_the_others_reach_later() -> bool:
    """Rank 0 begins an exchange that the others begin only when rank 0 has told them, after it, to do so."""
    agreement = StepAgreement("stop")
    if rank() == 0:
        agreement.exchange()
    dist.broadcast(torch.zeros(1), 0)
    if rank() != 0:
        agreement.exchange()
    agreement.close()
    return world_size() > 1


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_nobody_waits_at_the_boundary_where_it_begins(num_ranks: int) -> None:
    assert all(run_ranks(boundary_that_the_others_reach_later, num_ranks))
