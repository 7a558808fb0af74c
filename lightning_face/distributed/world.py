"""Who takes part: the one place that asks torch.distributed for rank and world size."""

import torch.distributed as dist


def world_size() -> int:
    """Number of ranks; 1 where no process group exists, so that callers need no special case."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank in [0, world_size)."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
