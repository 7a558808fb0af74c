"""The features of a whole set, gathered from all ranks."""

import torch
from torch import Tensor

from lightning_face.distributed.collectives import all_gather_rows
from lightning_face.evaluation.embeddings import Fusion, fuse


class GatheredFeatures:
    """Features of N images and of their mirror images, on the host of every rank, by sample id.

    Args:
        num_samples: N.
        dim: length of a feature, D.
    """

    def __init__(self, num_samples: int, dim: int) -> None:
        self._features_N2D = torch.zeros((num_samples, 2, dim))

    def add(self, sample_ids_B: Tensor, features_B2D: Tensor) -> None:
        """Add the batches of all ranks; a collective, so every rank calls it with as many rows."""
        self._features_N2D[all_gather_rows(sample_ids_B).cpu()] = all_gather_rows(features_B2D).cpu()

    def of_images(self) -> Tensor:
        """Features (N, D) of the images alone, as the network gives them."""
        return self._features_N2D[:, 0]

    def fused(self, how: Fusion) -> Tensor:
        """Embeddings of unit norm, a row for each image; see `fuse`."""
        return fuse(self._features_N2D[:, 0], self._features_N2D[:, 1], how)
