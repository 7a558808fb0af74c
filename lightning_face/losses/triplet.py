"""Triplet losses: an anchor is to be nearer to samples of its class than to others, and how triplets are chosen."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_face.losses.pairs import Costs, Pairs, distances_of

# Shapes: B anchors, G samples of the global batch, N pairs of an anchor and a positive, T triplets, D dimension.

Mining = Literal["semi_hard", "hardest_negative", "batch_hard", "batch_all"]


def triplet_loss(pairs: Pairs, mining: Mining, *, margin: float | None, squared: bool) -> Costs:
    """max(0, d(a, p) - d(a, n) + margin) of triplets of anchor, positive and negative; the rank's samples are anchors.

    Args:
        pairs: of the anchors with all samples of the global batch, among which positives and negatives are chosen.
        mining: `semi_hard`: each positive pair with the nearest negative that is farther than the positive, if there
            is one; `hardest_negative`: each positive pair with the anchor's nearest negative; `batch_hard`: each
            anchor with its farthest positive and its nearest negative; `batch_all`: all triplets.
        margin: in units of d; None takes the soft margin, log(1 + exp(d(a, p) - d(a, n))).
        squared: d is the squared Euclidean distance.

    Returns:
        Costs of the triplets; an anchor without positives or without negatives is in none.

    Source:
        Schroff et al. (FaceNet), CVPR 2015, section 3: the first two, squared. Which of the semi-hard negatives it
        takes is not verified: the nearest is chosen here. Hermans et al., "In Defense of the Triplet Loss", 2017: the
        last two and the soft margin, not squared.
    """
    distances_BG = pairs.squares_BG if squared else distances_of(pairs.squares_BG)
    excess, is_chosen = _MINERS[mining](distances_BG, pairs.is_positive_BG, pairs.is_negative_BG)
    return _costs(excess, is_chosen, margin)


def given_triplet_loss(features_T3D: Tensor, *, margin: float | None, squared: bool) -> Costs:
    """The same of triplets that are known: anchor, positive and negative of each.

    Args:
        features_T3D: floating point.
        margin: see `triplet_loss`.
        squared: see `triplet_loss`.
    """
    anchors_T1D, others_T2D = features_T3D.split([1, 2], dim=1)
    squares_T2 = (anchors_T1D - others_T2D).square().sum(2)
    to_positive_T, to_negative_T = (squares_T2 if squared else distances_of(squares_T2)).unbind(1)
    excess_T = to_positive_T - to_negative_T
    return _costs(excess_T, torch.ones_like(excess_T, dtype=torch.bool), margin)


def _costs(excess: Tensor, is_chosen: Tensor, margin: float | None) -> Costs:
    return Costs.of(F.softplus(excess) if margin is None else F.relu(excess + margin), is_chosen)


# Each returns d(a, p) - d(a, n) of candidates, of any shape, and which of them are the chosen triplets. Conditions are
# written so that nan is not kept out: the loss must show it.


def _semi_hard(distances_BG: Tensor, is_positive_BG: Tensor, is_negative_BG: Tensor) -> tuple[Tensor, Tensor]:
    anchors_N, positives_N = is_positive_BG.nonzero(as_tuple=True)
    to_positive_N, to_others_NG = distances_BG[anchors_N, positives_N], distances_BG[anchors_N]
    is_farther_NG = is_negative_BG[anchors_N] & ~(to_others_NG <= to_positive_N.unsqueeze(1))
    return to_positive_N - _nearest(to_others_NG, is_farther_NG), is_farther_NG.any(1)


def _hardest_negative(distances_BG: Tensor, is_positive_BG: Tensor, is_negative_BG: Tensor) -> tuple[Tensor, Tensor]:
    nearest_B1 = _nearest(distances_BG, is_negative_BG).unsqueeze(1)
    return distances_BG - nearest_B1, is_positive_BG & is_negative_BG.any(1, keepdim=True)


def _batch_hard(distances_BG: Tensor, is_positive_BG: Tensor, is_negative_BG: Tensor) -> tuple[Tensor, Tensor]:
    farthest_B = -_nearest(-distances_BG, is_positive_BG)
    return farthest_B - _nearest(distances_BG, is_negative_BG), is_positive_BG.any(1) & is_negative_BG.any(1)


def _batch_all(distances_BG: Tensor, is_positive_BG: Tensor, is_negative_BG: Tensor) -> tuple[Tensor, Tensor]:
    anchors_N, positives_N = is_positive_BG.nonzero(as_tuple=True)
    return distances_BG[anchors_N, positives_N].unsqueeze(1) - distances_BG[anchors_N], is_negative_BG[anchors_N]


def _nearest(distances_NG: Tensor, is_candidate_NG: Tensor) -> Tensor:
    """Smallest distance (N,) to a candidate, infinite where there is none."""
    return distances_NG.masked_fill(~is_candidate_NG, torch.inf).amin(1)


_MINERS = {
    "semi_hard": _semi_hard,
    "hardest_negative": _hardest_negative,
    "batch_hard": _batch_hard,
    "batch_all": _batch_all,
}
