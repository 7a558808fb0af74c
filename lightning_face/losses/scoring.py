"""Scores of samples: the value of the own class, and all other classes, the negatives, as one number."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_face.directions import dividing_lengths, unit_vectors
from lightning_face.losses.reductions import OF_NOTHING, LogSumExp, NegativesReduction

# Shapes: B samples, D embedding dimension, R classes, K rows per class.

Elementwise = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, R) of negatives from their values (B, R) and those of the samples' own classes (B, 1).

Called for every chunk, and again when the rows move: any state that it reads, say a running mean, must be the same
then. Gradients flow to both arguments, and to nothing else that it reads.
"""


class Scores(NamedTuple):
    """What is known of each sample's values.

    Args:
        targets_B: value of its own class.
        negatives_B: the logits of all others, its negatives, as one number.
        largest_B: the largest of these logits, without gradient; `OF_NOTHING` or below of none.
    """

    targets_B: Tensor
    negatives_B: Tensor
    largest_B: Tensor


@dataclass(frozen=True)
class Scoring:
    """How features and rows become values, values of negatives become logits, and their logits become one number.

    Rows are (R, D), or (R, K, D) for K rows per class: a class's value is then the largest of its rows' (sub-centers,
    Deng et al., ECCV 2020), and the one row that has it receives the gradient.

    A margin on the own class is no matter of scoring: the loss is any function of the two numbers that it sees.

    Args:
        unit_features: features are normalised first; one of zeros has the values 0, and gets no gradient.
        unit_rows: rows are normalised first; with unit features the values are cosines. A row of zeros has the value 0
            and gets no gradient: it would stay, so start from others.
        negatives: logits of negatives; None takes their values.
        bias: a scalar that is added to all logits of negatives, and receives this rank's part of its gradient; a
            learned threshold of `SoftplusSum`. None adds nothing.
        reduction: of the negatives' logits.
        filter_above: a negative whose value is above it is ignored, likely to be the same person under another label;
            None ignores none. (insightface's filter multiplies its logit by 0: it still counts, as exp(0).)
    """

    unit_features: bool = False
    unit_rows: bool = False
    negatives: Elementwise | None = None
    bias: Tensor | None = None
    reduction: type[NegativesReduction] = LogSumExp
    filter_above: float | None = None

    def prepared(self, features_BD: Tensor) -> Tensor:
        """Features as `values` and `best_rows` take them."""
        return unit_vectors(features_BD) if self.unit_features else features_BD

    def values(self, features_BD: Tensor, rows: Tensor) -> Tensor:
        """Values (B, R) of all pairs of prepared features and rows."""
        flat = rows.flatten(0, -2)
        products = features_BD @ flat.T
        if self.unit_rows:  # scaled afterwards: normalised rows would be written, and differentiated through
            products = products * dividing_lengths(flat).reciprocal()
        if rows.ndim == 2:
            return products
        return products.unflatten(1, rows.shape[:2]).max(2).values  # amax would share the gradient between equals

    def best_rows(self, features_BD: Tensor, rows: Tensor) -> Tensor:
        """The row (B, D) that prepared sample i's value with class i of (B, D) or (B, K, D) comes from."""
        directions = self._directions(rows)
        if rows.ndim == 2:
            return directions
        best_B = torch.einsum("bd,bkd->bk", features_BD, directions).argmax(1)
        return directions[torch.arange(len(best_B), device=rows.device), best_B]

    def logits(self, values_BR: Tensor, targets_B: Tensor) -> Tensor:
        """Logits (B, R) as if every class were a negative; -inf where it is ignored."""
        logits_BR = values_BR if self.negatives is None else self.negatives(values_BR, targets_B.unsqueeze(1))
        if self.bias is not None:
            logits_BR = logits_BR + self.bias
        if self.filter_above is None:
            return logits_BR
        return logits_BR.masked_fill(values_BR > self.filter_above, -torch.inf)

    def with_constant_bias(self) -> "Scoring":
        """The same with a copy of the bias as it is now: it may have moved by the time that the rows do."""
        return self if self.bias is None else replace(self, bias=self.bias.detach().clone())

    def _directions(self, rows: Tensor) -> Tensor:
        return unit_vectors(rows) if self.unit_rows else rows

    def is_first(self, scores: Scores) -> Tensor:
        """Which samples (B,) are nearest to their own class: as a negative it had the largest logit of all."""
        targets_B = scores.targets_B.detach()
        own_B1 = replace(self, filter_above=None).logits(targets_B.unsqueeze(1), targets_B)
        return own_B1.squeeze(1) > scores.largest_B

    def scores(self, features_BD: Tensor, labels_B: Tensor, rows: Tensor) -> Scores:
        """Scores of samples; all logits at once.

        Args:
            features_BD: floating point.
            labels_B: int64 in [0, R).
            rows: of all classes, the features' dtype.
        """
        values_BR = self.values(self.prepared(features_BD), rows)
        targets_B = values_BR.gather(1, labels_B.unsqueeze(1)).squeeze(1)
        logits_BR = self.logits(values_BR, targets_B).scatter(1, labels_B.unsqueeze(1), -torch.inf)
        largest_B = logits_BR.detach().amax(1).clamp_min(OF_NOTHING)
        return Scores(targets_B, self.reduction.of(logits_BR), largest_B)
