"""What the terms of an objective see of one micro-batch, and how each term states its reduction."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, get_args

from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.distributed.world import world_size
from lightning_face.errors import ConfigError
from lightning_face.losses import Pairs
from lightning_face.objectives.long_tail import Figures

Reduction = Literal["mean", "sum"]


def check_reduction(term: str, reduction: str) -> None:
    """Refuse a reduction that does not exist.

    Raises:
        ConfigError: `reduction` is none of `Reduction`.
    """
    if reduction not in get_args(Reduction):
        raise ConfigError(f"{term}.reduction must be {' or '.join(get_args(Reduction))}, got {reduction!r}")


@dataclass(frozen=True)
class MicroBatch(GlobalBatch):
    """One of the micro-batches of an optimizer step.

    Args:
        accumulation: micro-batches per optimizer step; the engine divides each one's gradient by it.
        noise_B: a standard normal number of each sample, float32, for losses that draw; None if there is none.
        figures: what the terms say of its samples besides their parts, of those that this rank answers for.
    """

    accumulation: int
    noise_B: Tensor | None = None
    figures: Figures = field(default_factory=dict)

    @cached_property
    def pairs(self) -> Pairs:
        """This rank's samples compared with all of the micro-batch, once for all terms; every rank calls."""
        return Pairs.of(self.features_GD, self.labels_G, self.own)

    @cached_property
    def unit_pairs(self) -> Pairs:
        """The same of features of length one."""
        return Pairs.of(self.unit.features_GD, self.labels_G, self.own)

    def sample_factor(self, reduction: Reduction) -> float:
        """What a sum over samples is multiplied by, so that it ends as `reduction` over the whole global batch."""
        return 1.0 / (world_size() * len(self.labels_B)) if reduction == "mean" else float(self.accumulation)


class Term(Protocol):
    """One summand of an objective."""

    name: str
    weight: float

    def part(self, batch: MicroBatch) -> Tensor:
        """This rank's part of the unweighted term, a scalar; the parts of all ranks sum to its value."""
        ...
