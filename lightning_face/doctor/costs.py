"""What a run will take: memory for its tables, and bytes of a checkpoint."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lightning_face.distributed.world import world_size
from lightning_face.doctor.finding import Finding, size_of
from lightning_face.tables.memory import TablePlan, check_memory


def check_tables(plans: Sequence[TablePlan], num_classes: int, device: torch.device) -> Finding:
    """Whether the class tables fit into memory, asked as `fit` asks; every rank calls.

    Raises:
        ConfigError: on every rank, if they do not.
    """
    check_memory(plans, num_classes, device)
    held = [
        f"{plan.name} {size_of(plan.bytes_held(num_classes, world_size()))}"
        f" ({'its share' if plan.is_sharded else 'replicated'})"
        for plan in plans
    ]
    return Finding("ok", f"{', '.join(held) or 'none'} on each rank")


def checkpoint_bytes(
    module: nn.Module, make_optimizer: Callable[[Any], Optimizer], plans: Sequence[TablePlan], num_classes: int
) -> int:
    """Bytes of a checkpoint, but for a few thousand: weights, optimizers and tables."""
    dense = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    trained = sum(tensor.nbytes for tensor in module.parameters() if tensor.requires_grad)
    tables = sum(plan.bytes_per_class for plan in plans if plan.is_saved) * num_classes
    return dense + round(trained * _state_per_weight(make_optimizer)) + tables


def _state_per_weight(make_optimizer: Callable[[Any], Optimizer]) -> float:
    """How many numbers an optimizer keeps for each weight: asked of one that steps on a small matrix."""
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = make_optimizer([{"params": [weight]}])
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    state = [value for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor)]
    return sum(value.numel() for value in state if value.shape == weight.shape) / weight.numel()
