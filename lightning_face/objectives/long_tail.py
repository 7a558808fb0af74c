"""The long tail: figures apart for classes with many images, with a middling number, and with few."""

import torch
from torch import Tensor

# Shapes: C classes, N samples or classes that this rank answers for, F figures.

BUCKETS = ("head", "middle", "tail")
"""Of classes, those with the most images first; the names that `buckets_of` numbers."""

MIDDLE = BUCKETS.index("middle")

Figures = dict[str, tuple[Tensor, Tensor]]
"""What the terms of an objective say of single samples or classes, by name: int64 classes (N,) and values (N,)."""


def buckets_of(class_counts_C: Tensor) -> Tensor:
    """The bucket of each class: each third of all images, from the classes with the most to those with the fewest.

    So an epoch has about as many samples of each, and their means are about equally firm. Classes with equally many
    images share a bucket, that of the middle one of their images; if all have equally many, all are in the middle.

    Args:
        class_counts_C: images of each class, int64.

    Returns:
        (C,) int8, places in `BUCKETS`.
    """
    counts_K, kinds_C, classes_K = torch.unique(class_counts_C, return_inverse=True, return_counts=True)
    images_K = counts_K * classes_K
    twice_rarer_K = 2 * images_K.cumsum(0) - images_K  # twice those of rarer classes and half of its own
    is_tail_K = 3 * twice_rarer_K < 2 * images_K.sum()
    is_head_K = 3 * twice_rarer_K > 4 * images_K.sum()
    return (MIDDLE + is_tail_K.to(torch.int8) - is_head_K.to(torch.int8))[kinds_C]


def sums_by_bucket(figures: Figures, buckets_C: Tensor) -> Tensor:
    """Sum of each figure's values in each bucket, and how many they are: (F, 2, 3) float32, to be summed over ranks."""
    sums = [_sums(buckets_C[classes_N], values_N.float()) for classes_N, values_N in figures.values()]
    # Of pair losses alone there are none.
    return torch.stack(sums) if sums else buckets_C.new_zeros((0, 2, len(BUCKETS)), dtype=torch.float32)


def means_by_bucket(names: list[str], sums_F23: Tensor) -> dict[str, Tensor]:
    """The means of all of `sums_by_bucket`, by name; those without samples are left out.

    Args:
        names: of the figures.
        sums_F23: over all ranks, on the CPU.
    """
    # Of all buckets together, then of each.
    sums_F4, counts_F4 = torch.cat([sums_F23.sum(2, keepdim=True), sums_F23], dim=2).unbind(1)
    of_figures = zip(names, (sums_F4 / counts_F4).unbind(), counts_F4.tolist(), strict=True)
    return {
        label: mean
        for name, means_4, counts_4 in of_figures
        for label, mean, count in zip(_labels(name), means_4.unbind(), counts_4, strict=True)
        if count > 0
    }


def _labels(name: str) -> list[str]:
    return [name, *(f"{name}_{bucket}" for bucket in BUCKETS)]


def _sums(buckets_N: Tensor, values_N: Tensor) -> Tensor:
    is_in_3N = buckets_N == torch.arange(len(BUCKETS), device=buckets_N.device).unsqueeze(1)
    # Not `index_add`: on a GPU it adds in any order, and reports other bits in every run.
    return torch.stack([torch.where(is_in_3N, values_N, 0.0).sum(1), is_in_3N.sum(1).float()])
