"""Softmax cross-entropy over a linear classifier (Wen et al., ECCV 2016, equation 1, without bias)."""

from torch import Tensor
from torch.nn import functional as F


def softmax_loss(targets_B: Tensor, negatives_B: Tensor) -> Tensor:
    """-log softmax of the own class, log(1 + exp(n - t)).

    Args:
        targets_B: t, logit of each sample's own class.
        negatives_B: n, log-sum-exp of the logits of all other classes.

    Returns:
        (B,), of each sample.

    Source:
        Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, equation 1.
    """
    return F.softplus(negatives_B - targets_B)
