"""Contrastive loss: pairs of a class are pulled together, other pairs pushed beyond a margin."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_face.losses.pairs import Costs, Pairs, distances_of


def contrastive_loss(pairs: Pairs, margin: float | Tensor) -> tuple[Costs, Costs]:
    """Half the squared distance of positive pairs; half max(0, margin - distance)^2 of negative ones.

    Args:
        pairs: ordered.
        margin: the *distance*, not squared, from which on a negative pair costs nothing; a constant.

    Returns:
        Costs of the positive pairs, and of the negative pairs.

    Source:
        Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, equation 4. The L2 form
        of the verification signal of DeepID2 (Sun et al., NeurIPS 2014) is the same, at a margin that is re-estimated.
    """
    positive_BG = 0.5 * pairs.squares_BG
    negative_BG = 0.5 * F.relu(margin - distances_of(pairs.squares_BG)).square()
    return Costs.of(positive_BG, pairs.is_positive_BG), Costs.of(negative_BG, pairs.is_negative_BG)


@torch.no_grad()
def separating_distance(squares_GG: Tensor, is_positive_GG: Tensor, is_negative_GG: Tensor) -> Tensor:
    """The distance that tells positive pairs, at most as far, from negative ones with the smallest rate of errors.

    Args:
        squares_GG: squared distances of all pairs.
        is_positive_GG: see `Pairs`.
        is_negative_GG: see `Pairs`.

    Returns:
        Scalar: the smallest of the best distances; 0 where there are only equal features, or no pairs of a kind.

    Source:
        The idea of DeepID2's margin, the threshold with the fewest errors on many former pairs, which is not verified.
    """
    num_positive, num_negative = is_positive_GG.sum(), is_negative_GG.sum()
    # Both rates times both numbers of pairs: whole numbers, so that equal ones are equal.
    gains = is_positive_GG * num_negative - is_negative_GG * num_positive
    squares, order = squares_GG.flatten().sort()
    is_last = torch.cat([squares[1:] != squares[:-1], squares.new_ones(1, dtype=torch.bool)])  # of equal ones
    ends = is_last.nonzero().squeeze(1)
    return squares[ends[gains.flatten()[order].cumsum(0)[ends].argmax()]].sqrt()
