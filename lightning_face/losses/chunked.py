"""Scores over more classes than logits could be stored for: classes come in chunks of rows.

The loss of a sample is a function of t, the value of its own class, and n, the logits of all others, its negatives, as
one number. A first pass over the chunks gives n and its gradient with respect to the features. Once the gradient of the
loss with respect to n and t is known, a second pass gives the gradient of each chunk's rows. Logits are computed
twice, and never more than a chunk of them exists.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_face.losses.reductions import OverRanks
from lightning_face.losses.scoring import Scoring

# Shapes: G samples, D embedding dimension, R classes of a chunk.


@dataclass(frozen=True)
class Chunk:
    """The rows of R classes.

    Args:
        rows: float32.
        own_G: int64, column of each sample's class; negative, or R and above, where it is not in the chunk.
    """

    rows: Tensor
    own_G: Tensor

    def place_own_(self, matrix_GR: Tensor, values_G: Tensor | float) -> Tensor:
        """Overwrite a matrix where a sample meets its own class; returns it."""
        columns_G1 = self.own_G.clamp(0, matrix_GR.shape[1] - 1).unsqueeze(1)
        is_here_G = (self.own_G >= 0) & (self.own_G < matrix_GR.shape[1])
        there_G = matrix_GR.gather(1, columns_G1).squeeze(1)
        new_G = torch.where(is_here_G, values_G, there_G)
        return matrix_GR.scatter_(1, columns_G1, new_G.unsqueeze(1))


class Negatives:
    """The negatives' number over the chunks added so far, and its gradients, for each sample.

    Attributes:
        pull_GD: gradient with respect to the features, as `target_pull_G` and `bias_pull_G` are with respect to the
            value of the own class and to the bias; complete once `over_ranks` was called, of this rank's classes.

    Args:
        features_GD: float32.
        targets_G: value of each sample's own class.
        scoring: how logits come about.
    """

    def __init__(self, features_GD: Tensor, targets_G: Tensor, scoring: Scoring) -> None:
        self._features_GD = features_GD.detach().requires_grad_()
        self._targets_G = targets_G.detach().requires_grad_()
        self._scoring = scoring
        self._reduction = scoring.reduction(targets_G)
        self.pull_GD = torch.zeros_like(features_GD)
        self.target_pull_G = torch.zeros_like(targets_G)
        self.bias_pull_G = torch.zeros_like(targets_G)

    def add(self, chunk: Chunk) -> None:
        """Add a chunk's classes."""
        with torch.enable_grad():
            values_GR = self._scoring.values(self._features_GD, chunk.rows)
            logits_GR = self._scoring.logits(values_GR, self._targets_G)
        factor_G, weights_GR = self._reduction.add_(chunk.place_own_(logits_GR.detach().clone(), -torch.inf))
        pulls = torch.autograd.grad(logits_GR, (self._features_GD, self._targets_G), weights_GR, allow_unused=True)
        self._rescale(factor_G)
        self.pull_GD += pulls[0]
        if pulls[1] is not None:
            self.target_pull_G += pulls[1]
        if self._scoring.bias is not None:
            self.bias_pull_G += weights_GR.sum(1)

    def over_ranks(self, max_: OverRanks, sum_: OverRanks) -> Tensor:
        """The number (G,) over the chunks of all ranks."""
        negatives_G, factor_G = self._reduction.over_ranks(max_, sum_)
        self._rescale(factor_G)
        return negatives_G

    @property
    def largest_G(self) -> Tensor:
        """The largest logit, complete as `pull_GD` is."""
        return self._reduction.largest_G

    def _rescale(self, factor_G: Tensor) -> None:
        self.pull_GD *= factor_G.unsqueeze(1)
        self.target_pull_G *= factor_G
        self.bias_pull_G *= factor_G


@dataclass(frozen=True)
class Scored:
    """A batch whose loss has been differentiated: what the rows' gradient needs.

    Args:
        features_GD: float32.
        labels_G: int64.
        scoring: as it was, with a constant bias.
        targets_G: value of each sample's own class.
        negatives_G: its negatives' logits as one number.
        target_gradient_G: of the loss with respect to `targets_G`.
        negatives_gradient_G: of the loss with respect to `negatives_G`.
    """

    features_GD: Tensor
    labels_G: Tensor
    scoring: Scoring
    targets_G: Tensor
    negatives_G: Tensor
    target_gradient_G: Tensor
    negatives_gradient_G: Tensor


def row_gradient(chunk: Chunk, scored: Scored) -> Tensor:
    """Gradient of the loss with respect to the rows of a chunk."""
    scoring = scored.scoring
    rows = chunk.rows.detach().requires_grad_()
    with torch.enable_grad():
        values_GR = scoring.values(scored.features_GD, rows)
        free_GR = values_GR.detach().requires_grad_()
        logits_GR = scoring.logits(free_GR, scored.targets_G)
    weights_GR = scoring.reduction.weights_(logits_GR.detach().clone(), scored.negatives_G)
    weights_GR.mul_(scored.negatives_gradient_G.unsqueeze(1))
    if scoring.negatives is not None:
        (weights_GR,) = torch.autograd.grad(logits_GR, free_GR, weights_GR)
    chunk.place_own_(weights_GR, scored.target_gradient_G)  # until here as if it were a negative
    (gradient,) = torch.autograd.grad(values_GR, rows, weights_GR)
    return gradient
