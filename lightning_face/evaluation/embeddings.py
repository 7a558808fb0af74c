"""One unit vector for each image, from its features and those of its mirror image (the flip test).

Shapes: N images, D features.
"""

from typing import Literal

import torch
from torch import Tensor

from lightning_face.directions import unit_vectors

Fusion = Literal["concat", "sum", "none"]


def fuse(features_ND: Tensor, flipped_ND: Tensor | None, how: Fusion) -> Tensor:
    """Join the features of images and of their mirror images into embeddings of unit norm.

    The fusions are not interchangeable: raw norms weigh the two halves of "concat", and "sum" loses what the halves
    disagree on. Report which one a figure was made with.

    Args:
        features_ND: (N, D) of any float type.
        flipped_ND: (N, D), the features of the mirrored images, same rows; not read, and may be None, for "none".
        how: "sum" adds, "concat" puts side by side, "none" takes the features alone; all then normalise.

    Returns:
        (N, 2D) for "concat", else (N, D); float32 (float64 from float64), unit rows (zero stays zero).

    Raises:
        ValueError: the two shapes differ, flipped_ND is None where it is needed, or `how` is none of the three.

    Source:
        "sum": insightface, recognition/arcface_torch/eval/verification.py. "concat": Wen et al., A Discriminative
        Feature Learning Approach for Deep Face Recognition (ECCV 2016), section 4.1; Wei et al., Minimum Margin Loss.
    """
    if how == "none":
        return unit_vectors(_at_least_float32(features_ND))
    if flipped_ND is None or flipped_ND.shape != features_ND.shape:
        shapes = tuple(features_ND.shape), None if flipped_ND is None else tuple(flipped_ND.shape)
        raise ValueError(f"flipped_ND must have the shape of features_ND for {how!r}, {shapes[0]}; is {shapes[1]}")
    first_ND, second_ND = _at_least_float32(features_ND), _at_least_float32(flipped_ND)
    if how == "sum":
        return unit_vectors(first_ND + second_ND)
    if how == "concat":
        return unit_vectors(torch.cat([first_ND, second_ND], dim=1))
    raise ValueError(f"how must be 'concat', 'sum' or 'none', is {how!r}")


def _at_least_float32(features_ND: Tensor) -> Tensor:
    # Norms of bfloat16 features would carry 8 bits into every score.
    return features_ND if features_ND.dtype == torch.float64 else features_ND.float()
