"""Whether a step may be applied: its losses and gradients are finite on all ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from lightning_face.distributed.collectives import all_reduce_min_
from lightning_face.finite import are_finite


class FiniteCheck:
    """Sees what the micro-batches of a step compute; ranks agree on it once, before anything moves."""

    def __init__(self) -> None:
        self._losses: list[dict[str, Tensor]] = []
        self._features: list[Tensor] = []

    def see_loss(self, values: dict[str, Tensor]) -> None:
        """The loss of a micro-batch by name, the same on all ranks; scalars."""
        self._losses.append(values)

    def see_gradient(self, gradient_BD: Tensor) -> None:
        """The gradient of a micro-batch's features."""
        self._features.append(are_finite(gradient_BD))

    def what_is_not(self, gradients: Sequence[Tensor]) -> str | None:
        """See `Objective.what_is_not_finite`; forgets what it has seen."""
        losses, features = self._losses, self._features
        self._losses, self._features = [], []
        values = torch.stack([value for of_batch in losses for value in of_batch.values()])
        norm = get_total_norm(gradients).to(values.device)
        features_of_all = torch.stack([*features, values.new_ones((), dtype=torch.bool)]).all()
        own = torch.stack([values.isfinite().all(), features_of_all, norm.isfinite()])
        loss_is, features_are, weights_are = all_reduce_min_(own.to(torch.int32)).tolist()
        if not loss_is:
            return f"the loss is not finite ({_first_broken(losses)})"
        if not features_are:
            return "the features' gradient is not finite"
        return None if weights_are else "the norm of the weights' gradient is not finite"


def _first_broken(losses: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """The terms that are not finite in the first micro-batch that has some."""
    broken = ({name: float(value) for name, value in values.items() if not value.isfinite()} for values in losses)
    return next(filter(None, broken))
