"""How the logits of a sample's negatives become one number: all at once, or chunk by chunk and rank by rank."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# Shapes: B or G samples, R classes. A logit of -inf is that of no negative.

OF_NOTHING = -1e30
"""The largest of no logits, and their log-sum-exp; finite, so that the difference of two is no nan."""

OverRanks = Callable[[Tensor], Tensor]
"""Reduces a tensor (G,) over ranks, in place; returns it."""


class NegativesReduction(ABC):
    """The number so far, over the logits added so far.

    Their weights are its derivatives with respect to them, but for a factor of each sample that `over_ranks` gives.

    Attributes:
        largest_G: the largest logit, of all ranks once `over_ranks` was called; `OF_NOTHING` of none.

    Args:
        like_G: a tensor of the samples' shape, dtype and device.
    """

    @abstractmethod
    def __init__(self, like_G: Tensor) -> None:
        self.largest_G = torch.full_like(like_G, OF_NOTHING)

    @abstractmethod
    def add_(self, logits_GR: Tensor) -> tuple[Tensor, Tensor]:
        """Add logits, which are overwritten.

        Returns:
            The factor (G,) that all weights given before are to be multiplied by, and these logits' weights (G, R).
        """

    @abstractmethod
    def over_ranks(self, max_: OverRanks, sum_: OverRanks) -> tuple[Tensor, Tensor]:
        """The number (G,) over all logits of all ranks, and the factor (G,) that makes derivatives of weights."""

    @staticmethod
    @abstractmethod
    def weights_(logits_GR: Tensor, reduced_G: Tensor) -> Tensor:
        """Derivatives (G, R) of the number, once it is known, in place of the logits."""

    @staticmethod
    @abstractmethod
    def of(logits_BR: Tensor) -> Tensor:
        """The number (B,) of all logits at once, as autograd can differentiate it."""


class LogSumExp(NegativesReduction):
    """Log-sum-exp, as in softmax; `OF_NOTHING` or below without negatives.

    Everything is kept relative to the largest logit so far, and rescaled where a larger one comes.
    """

    def __init__(self, like_G: Tensor) -> None:
        super().__init__(like_G)
        self._sum_G = torch.zeros_like(like_G)

    def add_(self, logits_GR: Tensor) -> tuple[Tensor, Tensor]:
        """See `NegativesReduction.add_`."""
        factor_G = self._rescale(torch.maximum(self.largest_G, logits_GR.amax(1)))
        weights_GR = logits_GR.sub_(self.largest_G.unsqueeze(1)).exp_()
        self._sum_G += weights_GR.sum(1)
        return factor_G, weights_GR

    def over_ranks(self, max_: OverRanks, sum_: OverRanks) -> tuple[Tensor, Tensor]:
        """See `NegativesReduction.over_ranks`."""
        factor_G = self._rescale(max_(self.largest_G.clone()))
        sum_G = sum_(self._sum_G.clone()).clamp_min_(torch.finfo(factor_G.dtype).tiny)  # there may be no negatives
        return self.largest_G + sum_G.log(), factor_G / sum_G

    def _rescale(self, largest_G: Tensor) -> Tensor:
        """Take another logit, at least as large as the largest so far; returns the factor that the sum changes by."""
        factor_G = (self.largest_G - largest_G).exp_()
        self.largest_G = largest_G
        self._sum_G *= factor_G
        return factor_G

    @staticmethod
    def weights_(logits_GR: Tensor, reduced_G: Tensor) -> Tensor:
        """See `NegativesReduction.weights_`."""
        return logits_GR.sub_(reduced_G.unsqueeze(1)).clamp_max_(0.0).exp_()

    @staticmethod
    def of(logits_BR: Tensor) -> Tensor:
        """See `NegativesReduction.of`."""
        return logits_BR.clamp_min(OF_NOTHING).logsumexp(1)  # of -inf alone, its gradient would be nan


class SoftplusSum(NegativesReduction):
    """Sum of log(1 + exp(logit)), one binary loss for each negative (UniFace, SphereFace2); 0 without negatives."""

    def __init__(self, like_G: Tensor) -> None:
        super().__init__(like_G)
        self._sum_G = torch.zeros_like(like_G)

    def add_(self, logits_GR: Tensor) -> tuple[Tensor, Tensor]:
        """See `NegativesReduction.add_`."""
        self.largest_G = torch.maximum(self.largest_G, logits_GR.amax(1))
        self._sum_G += self.of(logits_GR)
        return torch.ones_like(self._sum_G), logits_GR.sigmoid_()

    def over_ranks(self, max_: OverRanks, sum_: OverRanks) -> tuple[Tensor, Tensor]:
        """See `NegativesReduction.over_ranks`."""
        self.largest_G = max_(self.largest_G.clone())
        return sum_(self._sum_G.clone()), torch.ones_like(self._sum_G)

    @staticmethod
    def weights_(logits_GR: Tensor, reduced_G: Tensor) -> Tensor:
        """See `NegativesReduction.weights_`; they are known without the number."""
        return logits_GR.sigmoid_()

    @staticmethod
    def of(logits_BR: Tensor) -> Tensor:
        """See `NegativesReduction.of`."""
        return F.softplus(logits_BR).sum(1)
