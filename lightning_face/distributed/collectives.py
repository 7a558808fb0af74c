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


def _scattered_sum(rows: Tensor) -> Tensor:
    """Sum over ranks of (W * B, ...); each rank receives its B rows."""
    own = rows.new_empty((rows.shape[0] // world_size(), *rows.shape[1:]))
    _reduce_scatter(own, rows.contiguous())
    return own


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return all_reduce_sum_(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum_(gradient.clone())


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        own = [tensor.contiguous().flatten().view(torch.uint8) for tensor in (rows, labels)]
        bytes_WN = all_gather_rows(torch.cat(own).unsqueeze(0))
        rows_WN, labels_WN = bytes_WN.split([len(part) for part in own], dim=1)
        gathered = rows_WN.contiguous().view(rows.dtype).view(-1, *rows.shape[1:])
        gathered_labels = labels_WN.contiguous().view(labels.dtype).view(-1)
        ctx.mark_non_differentiable(gathered_labels)
        return gathered, gathered_labels

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
        return _scattered_sum(gradient), None


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


def gather_rows(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """As `all_gather_rows`, of rows and their labels together: where a batch is small, a second exchange costs as much.

    Args:
        rows: (B, ...), any dtype; each receives the sum of all ranks' gradients, by one reduce-scatter.
        labels: (B,), any dtype, without gradient.

    Returns:
        (W * B, ...) rows and (W * B,) labels, in rank order, of the dtypes given.
    """
    return (rows, labels) if world_size() == 1 else _GatherRows.apply(rows, labels)


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The tensor itself, its gradient multiplied by `factor`."""
    return tensor if factor == 1 else _ScaleGradient.apply(tensor, factor)
