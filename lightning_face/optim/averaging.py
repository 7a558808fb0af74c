"""An exponential moving average of a network's numbers, step by step."""

from collections.abc import Iterable

import torch
from torch import Tensor

from lightning_face.errors import ConfigError

_SHARE_OF_RUN = 0.1
"""How much of the steps so far the average reaches back over at first, where it is less than the decay asks for."""


def check_decay(decay: float | None) -> None:
    """Refuse a decay that is no share.

    Raises:
        ConfigError: it is not between 0 and 1.
    """
    if decay is not None and not 0.0 < decay < 1.0:
        raise ConfigError(f"model.average_decay must be above 0 and below 1, got {decay}; null keeps no average")


@torch.no_grad()
def move_average(averages: Iterable[Tensor], newest: Iterable[Tensor], decay: float, step: int) -> None:
    """Take what a step has made of each tensor into its average, in place: average = (1 - s) average + s newest.

    s is 1 - decay, but at least 10 / (10 + step): so the average forgets where training began, is the newest after the
    first step, and reaches back over a tenth of the steps at most. Nothing but the number of the step is needed.

    Args:
        averages: of any shapes; those that are no floats become the newest.
        newest: as many, of the same shapes and dtypes.
        decay: in (0, 1).
        step: steps before this one.

    Source: the warm-up is that of TensorFlow's `tf.train.ExponentialMovingAverage(num_updates)`, from an empty average.
    """
    share = max(1.0 - decay, 1.0 / (1.0 + _SHARE_OF_RUN * step))
    for average, tensor in zip(averages, newest, strict=True):
        if average.is_floating_point():
            average.lerp_(tensor, share)
        else:
            average.copy_(tensor)
