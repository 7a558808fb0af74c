"""Collectives, with gradients where the objective needs them. With one rank each is the identity.

Every rank returns its own part of a loss, and parts sum to the global loss. A collective's backward is then its exact
adjoint: that of a sum over ranks is again a sum over ranks. Engines *average* gradients over ranks, so features enter
the objective through `scale_gradient(features, world_size)`; tables, which no engine touches, are never scaled.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_face.distributed.world import world_size

# Newer torch renames them and warns about the old names at every call.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def all_reduce_sum_(tensor: Tensor) -> Tensor:
    """Sum over ranks in place, without gradient; returns the tensor."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def all_reduce_max_(tensor: Tensor) -> Tensor:
    """Largest over ranks in place, without gradient; returns the tensor."""
    if world_size() > 1:
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor


def all_reduce_min_(tensor: Tensor) -> Tensor:
    """Smallest over ranks in place, without gradient; returns the tensor."""
    if world_size() > 1:
        dist.all_reduce(tensor, dist.ReduceOp.MIN)
    return tensor


def all_gather_rows(rows: Tensor) -> Tensor:
    """Concatenate equally many rows of every rank, in rank order, without gradient: (B, ...) -> (W * B, ...)."""
    if world_size() == 1:
        return rows
    gathered = rows.new_empty((world_size() * rows.shape[0], *rows.shape[1:]))
    _all_gather(gathered, rows.contiguous())
    return gathered


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return all_reduce_sum_(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum_(gradient.clone())


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return all_gather_rows(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty((gradient.shape[0] // world_size(), *gradient.shape[1:]))
        _reduce_scatter(own, gradient.contiguous())
        return own


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum over ranks; the gradient is summed over ranks too."""
    return tensor if world_size() == 1 else _AllReduceSum.apply(tensor)


def gather_rows(rows: Tensor) -> Tensor:
    """As `all_gather_rows`; each rank's rows receive the sum of all ranks' gradients, by one reduce-scatter."""
    return rows if world_size() == 1 else _GatherRows.apply(rows)


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The tensor itself, its gradient multiplied by `factor`."""
    return tensor if factor == 1 else _ScaleGradient.apply(tensor, factor)
