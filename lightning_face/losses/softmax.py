"""Softmax cross-entropy over a linear classifier (Wen et al., ECCV 2016, equation 1, without bias)."""

from torch import Tensor
from torch.nn import functional as F

# Shapes: B samples, D embedding dimension, C classes.


def softmax_loss(features_BD: Tensor, labels_B: Tensor, classifier_CD: Tensor) -> Tensor:
    """Sum over samples of -log softmax(W x)[y].

    Args:
        features_BD: embeddings, floating point, not normalised.
        labels_B: int64 in [0, C).
        classifier_CD: one row per class, the features' dtype.

    Returns:
        Scalar: the *sum* over the B samples.

    Source:
        Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, equation 1.
    """
    return F.cross_entropy(F.linear(features_BD, classifier_CD), labels_B, reduction="sum")
