"""Terms over pairs or triplets of a micro-batch's samples, and the options that they share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_face.distributed.collectives import all_reduce_sum_
from lightning_face.errors import ConfigError
from lightning_face.losses import Costs, Pairs
from lightning_face.objectives.batch import MicroBatch

PairReduction = Literal["mean", "mean_nonzero", "sum"]
"""Over the pairs or triplets of a micro-batch of all ranks; `mean_nonzero`: over those that cost more than nothing."""

_OPTIONS = tuple(get_args(PairReduction))


def check_weight(term: str, weight: float) -> None:
    """Raise ConfigError unless a term's weight is positive and finite."""
    if not 0 < weight < math.inf:  # written so that nan is refused too
        raise ConfigError(f"{term}.weight must be above 0, got {weight}; `{term}: null` switches it off")


def check_pair_reduction(term: str, reduction: str) -> None:
    """Raise ConfigError unless the reduction is one of `PairReduction`."""
    if reduction not in _OPTIONS:
        raise ConfigError(f"{term}.reduction must be one of {', '.join(_OPTIONS)}, got {reduction!r}")


def check_distance(option: str, value: float, *, normalise: bool, squared: bool) -> None:
    """Raise ConfigError unless a value is a positive distance that features can have."""
    kind = "squared distance" if squared else "distance"
    if not 0 < value < math.inf:
        raise ConfigError(f"{option} must be above 0 (a {kind}), got {value}")
    largest = 4.0 if squared else 2.0
    if normalise and value > largest:
        raise ConfigError(
            f"{option} must be at most {largest:g}, the largest {kind} of normalised features, got {value}"
        )


class PairTerm(ABC):
    """A loss over pairs or triplets; each rank answers for those that begin with one of its samples.

    It is no sum over samples: under accumulation each micro-batch is seen alone, and their losses are averaged.

    Args:
        weight: factor of the term.
        reduction: of each kind of pairs; the term is the sum of the kinds.
        normalise: compare unit features.
    """

    name: str

    def __init__(self, weight: float, reduction: PairReduction, normalise: bool) -> None:
        self.weight = weight
        self._reduction = reduction
        self._normalise = normalise

    @abstractmethod
    def costs(self, batch: MicroBatch) -> dict[str, Costs]:
        """Costs of each kind of pairs or triplets, by the name under which the share of non-zero ones is logged."""

    def pairs(self, batch: MicroBatch) -> Pairs:
        """The rank's samples, each with every other sample of all ranks; every rank calls."""
        return batch.unit_pairs if self._normalise else batch.pairs

    def part(self, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """This rank's part, and which share of the pairs of all ranks costs more than nothing; every rank calls."""
        costs = self.costs(batch)
        counts_N2 = all_reduce_sum_(torch.stack([cost.counts for cost in costs.values()]))
        shares_N = counts_N2[:, 1] / counts_N2[:, 0].clamp_min(1)
        part = _reduced([cost.total for cost in costs.values()], counts_N2, self._reduction)
        return part, dict(zip(costs, shares_N.unbind(), strict=True))


def _reduced(totals: Sequence[Tensor], counts_N2: Tensor, reduction: PairReduction) -> Tensor:
    """Counts are those of all ranks, and constants: the parts of all ranks sum to the mean."""
    totals_N = torch.stack(list(totals))
    if reduction == "sum":
        return totals_N.sum()
    return (totals_N / counts_N2[:, 0 if reduction == "mean" else 1].clamp_min(1)).sum()
