"""BatchNorm running statistics, the same on every rank."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_face.distributed.collectives import all_reduce_sum_
from lightning_face.distributed.world import world_size


@torch.no_grad()
def average_batchnorm_statistics(module: nn.Module) -> None:
    """Average running means and variances over ranks, in one reduction.

    Done after every step, so that weights do not depend on when a checkpoint was taken: an average taken only when
    saving would round differently in a run that saves at other times.
    """
    if world_size() == 1:
        return
    statistics: list[Tensor] = []
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
            statistics += [layer.running_mean, layer.running_var]
    if not statistics:
        return
    flat = all_reduce_sum_(torch.cat([statistic.flatten() for statistic in statistics])) / world_size()
    sizes = [statistic.numel() for statistic in statistics]
    for statistic, averaged in zip(statistics, flat.split(sizes), strict=True):
        statistic.copy_(averaged.view_as(statistic))
