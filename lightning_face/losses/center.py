"""Center loss and the rule that moves the centers (Wen et al., ECCV 2016)."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Shapes: B samples, D embedding dimension, U distinct classes of a batch.


def center_loss(features_BD: Tensor, centers_BD: Tensor) -> Tensor:
    """Half the squared distance of each sample to its class's center.

    Args:
        features_BD: embeddings, floating point, not normalised.
        centers_BD: row i is the center of sample i's class, a constant (no gradient is sent to it).

    Returns:
        (B,), of each sample; the gradient of their sum with respect to x_i is x_i - c_{y_i}.

    Source:
        Wen et al., ECCV 2016, equations 2 and 3.
    """
    return 0.5 * F.mse_loss(features_BD, centers_BD.detach(), reduction="none").sum(1)


def moved_centers(centers_UD: Tensor, sums_UD: Tensor, counts_U: Tensor, rate: float) -> Tensor:
    """Centers after one step of Wen's rule: c + rate * (sum of x - n c) / (1 + n).

    Sums and counts are those of the whole global batch: dividing before adding over ranks would be another rule.

    Args:
        centers_UD: centers before the step.
        sums_UD: sum of the features of each class's samples; gradients flow through it.
        counts_U: number of those samples n; a class with n = 0 does not move.
        rate: Wen's alpha in [0, 1]; a single sample moves its center by rate / 2 of the way.

    Returns:
        (U, D) centers after the step.

    Source:
        Wen et al., ECCV 2016, equation 4 and step 6 of algorithm 1.
    """
    counts_U1 = counts_U.to(centers_UD.dtype).unsqueeze(1)
    offsets_UD = torch.addcmul(sums_UD, counts_U1, centers_UD, value=-1.0)
    return torch.addcmul(centers_UD, offsets_UD, rate / (1.0 + counts_U1))


def class_sums(features_BD: Tensor, slots_B: Tensor, num_slots: int) -> Tensor:
    """Add up the features of each class: row slots_B[i] of the (num_slots, D) result receives features_BD[i].

    Each class's samples are added in their order, one after the other: the same bits in every run and on every rank. A
    GPU's `index_add` adds in any order.
    """
    counts = torch.bincount(slots_B, minlength=num_slots)
    by_class_B = slots_B.argsort(stable=True)
    return F.embedding_bag(by_class_B, features_BD, counts.cumsum(0) - counts, mode="sum")
