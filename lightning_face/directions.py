"""Vectors of length one. What has no direction becomes zero, and gets no gradient."""

import math

from torch import Tensor
from torch.nn import functional as F

_SHORTEST = 1e-12
"""Up to this length, below all that features and rows have, a vector has no direction; the same as torch's own."""


def dividing_lengths(vectors: Tensor) -> Tensor:
    """Euclidean lengths to divide vectors by; infinite where there is no direction: quotient and gradient are 0.

    Args:
        vectors: (..., D), floating point.

    Returns:
        (...), the lengths.
    """
    return F.threshold(vectors.norm(dim=-1), _SHORTEST, math.inf)


def unit_vectors(vectors: Tensor) -> Tensor:
    """Vectors (..., D) of the same directions and length one.

    A vector of zeros, say of a dead ReLU or a black image, stays zero and gets no gradient; torch's `normalize` divides
    its gradient by 1e-12.
    """
    return vectors / dividing_lengths(vectors).unsqueeze(-1)
