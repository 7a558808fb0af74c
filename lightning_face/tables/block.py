"""Which rows of a sharded class table a rank owns."""

import torch
from torch import Tensor

from lightning_face.distributed.world import rank, world_size


def own_classes(num_classes: int) -> range:
    """The neighbouring classes whose rows this rank owns; sizes differ by at most one, none where C < W."""
    return range(num_classes * rank() // world_size(), num_classes * (rank() + 1) // world_size())


def held_places(held: range, classes_N: Tensor) -> tuple[Tensor, Tensor]:
    """Which of some classes are held, and the places of those among the held rows; int64, as many of both."""
    which = ((classes_N >= held.start) & (classes_N < held.stop)).nonzero().squeeze(1)
    return which, classes_N.index_select(0, which) - held.start


def places_in(block: range, classes_U: Tensor) -> range:
    """Where those of some sorted classes stand that are in a block."""
    borders = torch.tensor([block.start, block.stop], device=classes_U.device)
    return range(*torch.searchsorted(classes_U, borders).tolist())
