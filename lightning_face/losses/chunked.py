"""Softmax over more classes than logits could be stored for: classes come in chunks of rows.

The loss of a sample is log(1 + exp(n - t)), with t the logit of its own class and n the log-sum-exp of all others, its
negatives. A first pass over the chunks gives n and its gradient with respect to the features. Once the gradient of the
loss with respect to n and t is known, a second pass gives the gradient of each chunk's rows. Logits are computed
twice, and never more than a chunk of them exists.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_face.losses.scoring import OF_NOTHING, Scoring

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
    """Log-sum-exp of the negatives' logits over the chunks added so far, and its gradients, for each sample.

    Everything is kept relative to the largest logit so far, and rescaled where a larger one comes.

    Args:
        features_GD: float32.
        targets_G: value of each sample's own class.
        scoring: how logits come about.
    """

    def __init__(self, features_GD: Tensor, targets_G: Tensor, scoring: Scoring) -> None:
        self._features_GD = features_GD.detach().requires_grad_()
        self._targets_G = targets_G.detach().requires_grad_()
        self._scoring = scoring
        self.largest_G = torch.full_like(targets_G, OF_NOTHING)
        self.sum_G = torch.zeros_like(targets_G)
        self.pull_GD = torch.zeros_like(features_GD)
        self.target_pull_G = torch.zeros_like(targets_G)

    def add(self, chunk: Chunk) -> None:
        """Add a chunk's classes."""
        with torch.enable_grad():
            values_GR = self._scoring.values(self._features_GD, chunk.rows)
            logits_GR = self._scoring.logits(values_GR, self._targets_G)
        weights_GR = chunk.place_own_(logits_GR.detach().clone(), -torch.inf)
        largest_G = torch.maximum(self.largest_G, weights_GR.amax(1))
        weights_GR.sub_(largest_G.unsqueeze(1)).exp_()
        pulls = torch.autograd.grad(logits_GR, (self._features_GD, self._targets_G), weights_GR, allow_unused=True)
        self.rescale(largest_G)
        self.sum_G += weights_GR.sum(1)
        self.pull_GD += pulls[0]
        if pulls[1] is not None:
            self.target_pull_G += pulls[1]

    def rescale(self, largest_G: Tensor) -> None:
        """Express all sums relative to another logit, at least as large as the largest so far."""
        factor_G = (self.largest_G - largest_G).exp_()
        self.sum_G *= factor_G
        self.target_pull_G *= factor_G
        self.pull_GD *= factor_G.unsqueeze(1)
        self.largest_G = largest_G


@dataclass(frozen=True)
class Scored:
    """A batch whose loss has been differentiated: what the rows' gradient needs.

    Args:
        features_GD: float32.
        labels_G: int64.
        scoring: as it was.
        targets_G: value of each sample's own class.
        negatives_G: log-sum-exp of its negatives' logits.
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
    weights_GR = chunk.place_own_(logits_GR.detach().clone(), -torch.inf)
    weights_GR.sub_(scored.negatives_G.unsqueeze(1)).clamp_max_(0.0).exp_().mul_(
        scored.negatives_gradient_G.unsqueeze(1)
    )
    if scoring.negatives is not None:
        (weights_GR,) = torch.autograd.grad(logits_GR, free_GR, weights_GR)
    chunk.place_own_(weights_GR, scored.target_gradient_G)
    (gradient,) = torch.autograd.grad(values_GR, rows, weights_GR)
    return gradient
