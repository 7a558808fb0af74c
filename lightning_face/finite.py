"""Whether numbers are finite, without a temporary as large as they are."""

import torch
from torch import Tensor


def are_finite(tensor: Tensor) -> Tensor:
    """Whether all numbers of a tensor are finite, a bool scalar on its device: the extremes tell, nan is both."""
    if not tensor.is_floating_point() or not tensor.numel():
        return torch.ones((), dtype=torch.bool, device=tensor.device)
    return torch.stack(tensor.aminmax()).isfinite().all()
