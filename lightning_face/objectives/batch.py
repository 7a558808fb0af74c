"""What the terms of an objective see of one micro-batch, and how each term states its reduction."""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from torch import Tensor

from lightning_face.errors import ConfigError

Reduction = Literal["mean", "sum"]


def check_reduction(term: str, reduction: str) -> None:
    """Refuse a reduction that does not exist.

    Raises:
        ConfigError: `reduction` is none of `Reduction`.
    """
    if reduction not in get_args(Reduction):
        raise ConfigError(f"{term}.reduction must be {' or '.join(get_args(Reduction))}, got {reduction!r}")


@dataclass(frozen=True)
class MicroBatch:
    """One micro-batch of this rank.

    Args:
        features_BD: float32; their gradient is already scaled for the engine's average over ranks.
        labels_B: int64.
        num_samples: of the micro-batches of all ranks together.
        accumulation: micro-batches per optimizer step; the engine divides each one's gradient by it.
    """

    features_BD: Tensor
    labels_B: Tensor
    num_samples: int
    accumulation: int

    def sample_factor(self, reduction: Reduction) -> float:
        """What a sum over samples is multiplied by, so that it ends as `reduction` over the whole global batch."""
        return 1.0 / self.num_samples if reduction == "mean" else float(self.accumulation)


class Term(Protocol):
    """One summand of an objective."""

    name: str
    weight: float

    def part(self, batch: MicroBatch) -> Tensor:
        """This rank's part of the unweighted term, a scalar; the parts of all ranks sum to its value."""
        ...
