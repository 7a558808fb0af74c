"""Logits of negatives as one number, over chunks and ranks, against loops in float64."""

import math
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from torch import Tensor

from lightning_face.losses import reductions
from tests.oracle import assert_close

NONE = -math.inf
"""The logit of no negative."""

LOGITS = torch.tensor(
    [
        [0.5, -1.0, 2.0, 0.1, NONE, 1.0, -0.3],  # the largest is in a first chunk of the first rank,
        [-2.0, 0.3, NONE, -0.5, 0.2, -4.0, 300.0],  # in the last of the last,
        [NONE, NONE, -700.0, -701.0, NONE, NONE, NONE],  # all are far from 0,
        [NONE, NONE, NONE, NONE, NONE, NONE, NONE],  # there is none
    ],
    dtype=torch.float64,
)
RANKS = [(0, 2, 4), (4, 5, 7)]
"""Borders of the chunks of two ranks."""


def log_sum_exp(logits: list[Tensor]) -> Tensor:
    return torch.log(sum(torch.exp(logit) for logit in logits))


def softplus_sum(logits: list[Tensor]) -> Tensor:
    return sum(torch.log(1.0 + torch.exp(logit)) for logit in logits)


def number_and_derivatives(of: Callable[[list[Tensor]], Tensor]) -> tuple[Tensor, Tensor]:
    """Of the samples that have negatives, one after the other."""
    leaves = [[logit.clone().requires_grad_() for logit in row] for row in LOGITS[:3]]
    numbers = [of([logit for logit in row if logit > NONE]) for row in leaves]
    sum(numbers).backward()
    zero = torch.zeros((), dtype=torch.float64)
    derivatives = [[zero if logit.grad is None else logit.grad for logit in row] for row in leaves]
    return torch.stack(numbers), torch.stack([torch.stack(row) for row in derivatives])


def check_over_ranks(module: ModuleType, name: str, of_others: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The number on each rank, and the derivatives with respect to its own logits.

    Args:
        module: of the reduction.
        name: of the reduction.
        of_others: what the other rank adds to the sum, given its logits and the largest of all.
    """
    numbers, derivatives = number_and_derivatives(log_sum_exp if name == "LogSumExp" else softplus_sum)
    largest = LOGITS.amax(1).clamp_min(reductions.OF_NOTHING)
    for borders, others in zip(RANKS, RANKS[::-1], strict=True):
        reduction = getattr(module, name)(torch.zeros(4, dtype=torch.float64))
        weights: list[Tensor] = []
        for start, end in pairwise(borders):
            factor, of_chunk = reduction.add_(LOGITS[:, start:end].clone())
            weights = [factor.unsqueeze(1) * before for before in weights] + [of_chunk]
        assert torch.equal(
            reduction.largest_G, LOGITS[:, borders[0] : borders[-1]].amax(1).clamp_min(reductions.OF_NOTHING)
        )
        added = of_others(LOGITS[:, others[0] : others[-1]], largest)
        number, factor = reduction.over_ranks(lambda own: torch.maximum(own, largest), added.add)
        assert torch.equal(reduction.largest_G, largest)
        assert_close(number[:3], numbers, 1e-12)
        own = factor.unsqueeze(1) * torch.cat(weights, 1)
        assert_close(own[:3], derivatives[:, borders[0] : borders[-1]], 1e-12)
        assert number[3] == 0.0 if name == "SoftplusSum" else number[3] <= reductions.OF_NOTHING
        assert not own[3].any()


def check_at_once(module: ModuleType, name: str) -> None:
    """The number of all logits as autograd differentiates it, and the derivatives once it is known."""
    numbers, derivatives = number_and_derivatives(log_sum_exp if name == "LogSumExp" else softplus_sum)
    reduction, leaf = getattr(module, name), LOGITS.clone().requires_grad_()
    of_all = reduction.of(leaf)
    assert_close(of_all[:3], numbers, 1e-12)
    of_all.sum().backward()
    assert_close(leaf.grad[:3], derivatives, 1e-12)
    if name == "SoftplusSum":
        assert of_all[3] == 0.0 and not leaf.grad[3].any()
    assert leaf.grad.isfinite().all()
    weights = reduction.weights_(LOGITS.clone(), of_all.detach())
    assert_close(weights[:3], derivatives, 1e-12)
    assert not weights[3].any()
    rounded = torch.tensor([[2.0]]), torch.tensor([1.9999999])  # a number that is less than its only logit
    assert 0.88 < reduction.weights_(*rounded) <= 1.0


def check(module: ModuleType) -> None:
    check_over_ranks(module, "LogSumExp", lambda logits, largest: (logits - largest.unsqueeze(1)).exp().sum(1))
    check_over_ranks(module, "SoftplusSum", lambda logits, largest: torch.nn.functional.softplus(logits).sum(1))
    for name in ("LogSumExp", "SoftplusSum"):
        check_at_once(module, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_negatives_nothing_is_nan(dtype: torch.dtype) -> None:
    for kind in (reductions.LogSumExp, reductions.SoftplusSum):
        reduction = kind(torch.zeros(1, dtype=dtype))
        number, factor = reduction.over_ranks(lambda own: own, lambda own: own)
        assert number.isfinite() and factor.isfinite()


def test_chunks_and_ranks_equal_the_loops() -> None:
    check(reductions)
