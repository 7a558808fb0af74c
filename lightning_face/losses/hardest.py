"""The hardest triplets in a set of features, which are trained when they are known: mining offline."""

import torch
from torch import Tensor

from lightning_face.losses.pair_tiles import squared_distances

# Shapes: M samples of the set, A of them anchors, D embedding dimension.


def hardest_triplets(features_MD: Tensor, labels_M: Tensor, anchors_A: Tensor) -> tuple[Tensor, Tensor]:
    """Each anchor with the farthest sample of its class and the nearest of another; of several as far, the first.

    Args:
        features_MD: floating point, constants.
        labels_M: int64, of two classes at least.
        anchors_A: int64, places in the set; A x M numbers are held, a few times.

    Returns:
        Places (A, 3), int64, of anchor, positive and negative, and the squared Euclidean distances (A, 2) of the anchor
        to the other two. An anchor that is alone of its class is its own positive.

    Source:
        Schroff et al. (FaceNet), CVPR 2015, section 3.2: argmax and argmin over a subset of the data.
    """
    squares_AM = squared_distances(features_MD[anchors_A], features_MD)
    is_same_AM = labels_M[anchors_A].unsqueeze(1) == labels_M
    # Below all of its class, and above all others: it is taken if there is nothing else.
    of_class_AM = squares_AM.masked_fill(~is_same_AM, -2.0).scatter_(1, anchors_A.unsqueeze(1), -1.0)
    positives_A = of_class_AM.argmax(1)
    negatives_A = squares_AM.masked_fill(is_same_AM, torch.inf).argmin(1)
    triplets_A3 = torch.stack([anchors_A, positives_A, negatives_A], dim=1)
    return triplets_A3, squares_AM.gather(1, triplets_A3[:, 1:])
