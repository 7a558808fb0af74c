"""Marginal loss: all pairs of a batch are told apart by one threshold on their squared distance."""

import torch
from torch.nn import functional as F

from lightning_face.losses.pairs import Costs, Pairs


def marginal_loss(pairs: Pairs, threshold: float, margin: float) -> Costs:
    """max(0, margin - y (threshold - d^2)) of each pair, with y = 1 for pairs of a class and -1 for others.

    Args:
        pairs: ordered, of unit features.
        threshold: the paper's theta, a *squared* distance.
        margin: the paper's xi: how far from the threshold a pair must be to cost nothing.

    Source:
        Deng et al., "Marginal Loss for Deep Face Recognition", CVPR workshops 2017. The form and both constants are
        not verified against the paper; see docs/losses.md.
    """
    nearness_BG = threshold - pairs.squares_BG
    costs_BG = F.relu(margin - torch.where(pairs.is_positive_BG, nearness_BG, -nearness_BG))
    return Costs.of(costs_BG, pairs.is_positive_BG | pairs.is_negative_BG)
