"""What a head is: the way from a sample's values to its loss."""

from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from lightning_face.errors import ConfigError
from lightning_face.losses.reductions import LogSumExp, NegativesReduction
from lightning_face.losses.scoring import Elementwise, Scoring
from lightning_face.losses.softmax import softmax_loss

# Shapes: B samples of this rank, G of all ranks, R classes of a chunk.

State = dict[str, Tensor]
"""What a head carries from step to step, by name: scalars, saved in checkpoints. `bias` is learned."""


class Samples(Protocol):
    """What a head may know of a micro-batch's samples besides their values; only the norms have a gradient.

    What concerns all samples may be exchanged between ranks: every rank asks for the same, in the same order.
    """

    @property
    def norms_B(self) -> Tensor:
        """Norms of the raw features."""
        ...

    @property
    def targets_G(self) -> Tensor:
        """Everyone's values of the own class."""
        ...

    @property
    def noise_B(self) -> Tensor:
        """A standard normal number of each sample, the same whichever rank has it."""
        ...

    @property
    def rarity_B(self) -> Tensor:
        """Images of the rarest class over those of the sample's own class, in (0, 1]."""
        ...

    def everyone(self, values_B: Tensor) -> Tensor:
        """The values (G,) of all ranks' samples."""
        ...

    def own(self, values_G: Tensor) -> Tensor:
        """Those (B,) of this rank's samples."""
        ...


class Head(ABC):
    """How the values of samples become a loss: options and pure functions; what runs is in a `State` outside of it.

    A step asks in this order: `observe`, `scoring`, `losses` for each micro-batch, then `advance`.
    """

    unit_features: bool = True
    unit_rows: ClassVar[bool] = True
    reduction: ClassVar[type[NegativesReduction]] = LogSumExp

    @property
    def needs_class_counts(self) -> bool:
        """Whether it asks for `Samples.rarity_B`."""
        return False

    def initial_state(self, num_seen: float) -> State:
        """The state before the first step; float32 or int64, on the CPU.

        Args:
            num_seen: classes that a sample is scored against, on average.
        """
        return {}

    def observe(self, state: State, samples: Samples) -> None:  # noqa: B027 - most heads carry nothing
        """Bring the state up to date with a micro-batch that is about to be scored; called without gradients."""

    def advance(self, state: State) -> None:  # noqa: B027
        """An optimizer step ends."""

    def facts(self, state: State) -> dict[str, Tensor]:
        """What runs, by the name that it is logged under; scalars, as the last micro-batch was scored."""
        return {}

    def negatives(self, state: State) -> Elementwise | None:
        """Logits of negatives; the function keeps its answers when the state moves on. None takes their values."""
        return None

    def bias(self, state: State) -> Tensor | None:
        """What is added to the logits of negatives, a scalar; None adds nothing."""
        return None

    @abstractmethod
    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """Loss (B,) of each sample.

        Args:
            targets_B: value of its own class.
            negatives_B: logits of all other classes, as one number.
            samples: what else is known of them.
            state: as it was when they were scored.
        """

    def scoring(self, state: State, filter_above: float | None = None) -> Scoring:
        """How samples are scored against the classes.

        Args:
            state: of now; it may move on.
            filter_above: see `Scoring`.
        """
        return Scoring(
            unit_features=self.unit_features,
            unit_rows=self.unit_rows,
            negatives=self.negatives(state),
            bias=self.bias(state),
            reduction=self.reduction,
            filter_above=filter_above,
        )


class CosineHead(Head):
    """Softmax over scaled cosines, with something done to the one of the own class.

    Args:
        scale: s, the factor of all cosines.
    """

    def __init__(self, scale: float) -> None:
        check("scale", scale, 0.0 < scale < float("inf"), "above 0")
        self.scale = scale

    def negatives(self, state: State) -> Elementwise:
        """See `Head.negatives`."""
        return partial(scaled, self.scale)

    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `Head.losses`."""
        return softmax_loss(self.scale * self.margined(targets_B, samples, state), negatives_B)

    @abstractmethod
    def margined(self, cosines_B: Tensor, samples: Samples, state: State) -> Tensor:
        """What softmax sees (B,) in place of the own classes' cosines."""


def scaled(scale: float, values_BR: Tensor, targets_B1: Tensor) -> Tensor:
    """Logits of negatives (see `Elementwise`): their values times a scale."""
    return scale * values_BR


def scalar(value: float) -> Tensor:
    """A float32 number of a state."""
    return torch.tensor(value, dtype=torch.float32)


def check(option: str, value: object, holds: bool, rule: str) -> None:
    """Refuse an option of a head.

    Raises:
        ConfigError: the rule does not hold.
    """
    if not holds:
        raise ConfigError(f"softmax.head.{option} must be {rule}, got {value}")
