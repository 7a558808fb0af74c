"""Features of a dataset as an exported network gives them, and what class centers made of them say.

Shapes: N images, C classes, D features.
"""

from pathlib import Path

import torch
from torch import Tensor

from lightning_face.checkpoint.exported import Exported, load_backbone
from lightning_face.data.augment import normalise
from lightning_face.data.faces import BatchRequest, Faces
from lightning_face.data.shards import Shards
from lightning_face.evaluation.nearest_centers import nearest_center_distances
from lightning_face.losses import class_sums

_BATCH = 256


@torch.no_grad()
def embedded(
    network: Path, folder: Path, sample_ids_N: Tensor | None = None, *, mirrored: bool = False
) -> tuple[Tensor, Tensor]:
    """Features (N, D) float64 of a dataset's images, all or some, or of their mirror images, and labels (N,)."""
    backbone, origin = load_backbone(network), Exported(network).origin.backbone
    faces = Faces(Shards(folder), seed=0, channels=origin["in_channels"], replace_damaged=False)
    features, labels = [], []
    sample_ids_N = torch.arange(len(faces)) if sample_ids_N is None else sample_ids_N
    for ids_B in sample_ids_N.split(_BATCH):
        batch = faces[BatchRequest(0, 0, ids_B.numpy())]
        images = normalise(batch.images_BHWC, backbone.image_size)
        features.append(backbone(images.flip(3) if mirrored else images).double())
        labels.append(batch.labels_B)
    return torch.cat(features), torch.cat(labels)


def class_means(features_ND: Tensor, labels_N: Tensor) -> Tensor:
    """Mean features (C, D) of the classes 0 to C - 1, each of which has an image."""
    counts_C = torch.bincount(labels_N)
    return class_sums(features_ND, labels_N, len(counts_C)) / counts_C.unsqueeze(1)


def within_and_between(features_ND: Tensor, labels_N: Tensor) -> tuple[float, float]:
    """Mean distance of an image to the mean of its class, and of the means of two classes, Euclidean."""
    means_CD = class_means(features_ND, labels_N)
    within = (features_ND - means_CD[labels_N]).norm(dim=1).mean()
    return float(within), float(torch.pdist(means_CD).mean())


def nearest_means(features_ND: Tensor, labels_N: Tensor) -> Tensor:
    """Distance (C,) of each class's mean to the nearest other one, Euclidean, float64."""
    means_CD = class_means(features_ND, labels_N)
    return nearest_center_distances(means_CD, torch.arange(len(means_CD)), means_CD)
