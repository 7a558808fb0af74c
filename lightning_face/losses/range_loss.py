"""Range loss: the largest distances within each class shrink, the two nearest classes of a batch move apart."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_face.losses.center import class_sums
from lightning_face.losses.pair_tiles import squared_distances
from lightning_face.losses.pairs import distances_of

# Shapes: G samples of the global batch, D embedding dimension, U its classes, R those with several samples, N pairs, K
# largest distances of a class.


def intra_class_ranges(features_GD: Tensor, labels_G: Tensor, num_largest: int, *, squared: bool) -> Tensor:
    """Harmonic mean of the `num_largest` largest distances within each class, k / (1 / D_1 + ... + 1 / D_k).

    Args:
        features_GD: floating point.
        labels_G: int64.
        num_largest: k; all distances of a class that has fewer.
        squared: distances are squared ones.

    Returns:
        (R,), in the order of the classes; those with one sample are left out. It is 0, without a gradient, where one
        of the largest distances is 0: the limit, for squared distances.

    Source:
        Zhang et al., "Range Loss for Deep Face Recognition with Long-Tailed Training Data", ICCV 2017. Its text calls
        D Euclidean, public code squares it; not verified.
    """
    is_same_GG = labels_G.unsqueeze(1) == labels_G
    first_N, second_N = is_same_GG.triu(1).nonzero(as_tuple=True)
    squares_N = (features_GD[first_N] - features_GD[second_N]).square().sum(1)
    distances_N = squares_N if squared else distances_of(squares_N)
    _, slots_N, counts_R = labels_G[first_N].unique(return_inverse=True, return_counts=True)
    places_N = _places_by_size(distances_N.detach(), slots_N, counts_R)
    is_large_N = places_N < num_largest
    missing_RK = distances_N.new_full((len(counts_R), num_largest), torch.inf)
    largest_RK = missing_RK.index_put((slots_N[is_large_N], places_N[is_large_N]), distances_N[is_large_N])
    # Relative to the smallest of the k: the reciprocal of a tiny distance would overflow.
    smallest_R1 = largest_RK.detach().amin(1, keepdim=True)
    is_zero_R1 = smallest_R1 < torch.finfo(smallest_R1.dtype).tiny
    ratios_RK = smallest_R1.masked_fill(is_zero_R1, 1.0) / largest_RK.masked_fill(is_zero_R1, 1.0)
    return counts_R.clamp_max(num_largest) * smallest_R1.squeeze(1) / ratios_RK.sum(1)


def _places_by_size(values_N: Tensor, slots_N: Tensor, counts_R: Tensor) -> Tensor:
    """How many values of the same slot come before each value, the largest first."""
    by_value_N = values_N.argsort(descending=True, stable=True)
    order_N = by_value_N[slots_N[by_value_N].argsort(stable=True)]
    starts_R = counts_R.cumsum(0) - counts_R
    places_N = torch.arange(len(values_N), device=values_N.device) - starts_R[slots_N[order_N]]
    return torch.empty_like(places_N).index_copy(0, order_N, places_N)


def nearest_means(features_GD: Tensor, labels_G: Tensor) -> Tensor:
    """Squared distance between the two nearest of the classes' means over the batch; infinite with one class."""
    _, slots_G, counts_U = labels_G.unique(return_inverse=True, return_counts=True)
    if len(counts_U) < 2:
        return features_GD.new_tensor(torch.inf)
    means_UD = class_sums(features_GD, slots_G, len(counts_U)) / counts_U.unsqueeze(1)
    squares_UU = squared_distances(means_UD.detach(), means_UD.detach()).fill_diagonal_(torch.inf)
    place = squares_UU.argmin()
    return (means_UD[place // len(counts_U)] - means_UD[place % len(counts_U)]).square().sum()


def inter_class_loss(square: Tensor, margin: float) -> Tensor:
    """max(0, margin - square), with the margin a squared distance."""
    return F.relu(margin - square)
