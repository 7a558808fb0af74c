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

# Newer torch renames it and warns about the old name at every call.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def all_reduce_sum_(tensor: Tensor) -> Tensor:
    """Sum over ranks in place, without gradient; returns the tensor."""
    if world_size() > 1:
        dist.all_reduce(tensor)
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


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The tensor itself, its gradient multiplied by `factor`."""
    return tensor if factor == 1 else _ScaleGradient.apply(tensor, factor)
