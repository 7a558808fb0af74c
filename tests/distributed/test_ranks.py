"""The harness itself: it must report who failed, and never hang."""

import os
import threading

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from lightning_face.distributed.world import rank, world_size
from tests.ranks import RankError, run_ranks


def who(values: Tensor) -> tuple[int, int, int, Tensor]:
    total = values * (rank() + 1)
    dist.all_reduce(total)
    return os.getpid(), rank(), world_size(), total


def fail_on_rank_1() -> None:
    if rank() == 1:
        raise ValueError("as the test wants it")
    dist.barrier()


def hang_on_rank_1() -> None:
    dist.barrier()  # rank 0 does not leave while the other one is still on its way
    if rank() == 1:
        threading.Event().wait()


def die_on_rank_1() -> None:
    dist.barrier()  # rank 0 does not leave while the other one is still on its way
    if rank() == 1:
        os._exit(7)


def return_a_lock() -> object:
    return threading.Lock()


def processes_of(num_ranks: int) -> set[int]:
    return {pid for pid, *_ in run_ranks(who, num_ranks, torch.ones(1))}


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_results_come_in_rank_order(num_ranks: int) -> None:
    results = run_ranks(who, num_ranks, torch.tensor([1.0, 2.0]))
    assert [own for _, own, _, _ in results] == list(range(num_ranks))
    assert {size for *_, size, _ in results} == {num_ranks}
    expected = torch.tensor([1.0, 2.0]) * num_ranks * (num_ranks + 1) / 2
    assert all(torch.equal(total, expected) for *_, total in results)


def test_processes_are_reused() -> None:
    first = processes_of(2)
    assert os.getpid() not in first
    assert processes_of(2) == first
    assert processes_of(1) <= first


def test_first_failing_rank_is_shown_and_the_ranks_are_replaced() -> None:
    before = processes_of(2)
    with pytest.raises(RankError, match=r"(?s)rank 1 of 2: Traceback.*ValueError: as the test wants it"):
        run_ranks(fail_on_rank_1, 2)
    assert not processes_of(2) & before


def test_hanging_rank_is_named_and_only_it_is_replaced() -> None:
    before = processes_of(2)
    with pytest.raises(RankError, match=r"out of time: ranks \[1\] of 2 did not come back"):
        run_ranks(hang_on_rank_1, 2, timeout_s=3.0)
    assert len(processes_of(2) & before) == 1


def test_dead_rank_is_named() -> None:
    with pytest.raises(RankError, match="rank 1 of 2: died with exit code 7"):
        run_ranks(die_on_rank_1, 2)


def test_result_that_cannot_be_sent_is_an_error_of_the_rank() -> None:
    with pytest.raises(RankError, match="cannot pickle"):
        run_ranks(return_a_lock, 1)
