"""Class frequency: what a network makes of people whom the training set shows often and seldom.

Measured on a *known* set: further images of the training identities, equally many of each. Shapes: N images, C classes,
D features.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.features import class_means, embedded, nearest_means, within_and_between
from lightning_face.evaluation.embeddings import fuse
from lightning_face.evaluation.identification import best_rows
from lightning_face.evaluation.roc import Roc
from lightning_face.objectives.long_tail import BUCKETS, buckets_of

FAR = 1e-2
"""False accept rate, over all pairs of known people, that sets the one threshold for all buckets."""


def nearest_by_class(network: Path, train: Path) -> dict[str, Any]:
    """Of each training identity: `images`, and the distance of the mean feature to the `nearest` other one.

    `within` and `between` classes are mean distances, see `within_and_between`.
    """
    features_ND, labels_N = embedded(network, train)
    within, between = within_and_between(features_ND, labels_N)
    of_classes = {"images": torch.bincount(labels_N), "nearest": nearest_means(features_ND, labels_N)}
    return {name: values_C.tolist() for name, values_C in of_classes.items()} | {"within": within, "between": between}


def figures_by_frequency(network: Path, train: Path, known: Path) -> dict[str, dict[str, float]]:
    """Figures of a known set for head, middle and tail of the training set, see `buckets_of`, and for all.

    `identification` is the share of images whose nearest class, by cosine with the mean of the class's training images,
    is their own; `auc` compares pairs within the bucket; `tar` and `far` are at one threshold for all, see `FAR`.
    """
    gallery_ND, train_labels_N = _fused(network, train)
    embeddings_ND, labels_N = _fused(network, known)
    buckets_C = buckets_of(torch.bincount(train_labels_N)).long()
    means_CD = torch.nn.functional.normalize(class_means(gallery_ND, train_labels_N))
    found_N = best_rows(embeddings_ND, means_CD, torch.zeros_like(means_CD[:, 0]))[1]
    threshold = threshold_at(embeddings_ND, labels_N, FAR)
    chosen = {"all": torch.ones_like(labels_N, dtype=torch.bool)}
    chosen |= {name: buckets_C[labels_N] == place for place, name in enumerate(BUCKETS)}
    return {
        f"known {name}": {
            "identification": float((found_N == labels_N)[is_in_N].double().mean()),
            **verified(embeddings_ND[is_in_N], labels_N[is_in_N], threshold),
        }
        for name, is_in_N in chosen.items()
        if is_in_N.any()
    }


def threshold_at(embeddings_ND: Tensor, labels_N: Tensor, far: float) -> float:
    """The cosine that so many of all impostor pairs reach, no more."""
    impostors = np.concatenate([scores[~same] for scores, same in _pairs(embeddings_ND, labels_N)])
    place = len(impostors) - 1 - int(far * len(impostors))
    return float(np.nextafter(np.partition(impostors, place)[place], np.inf))


def verified(embeddings_ND: Tensor, labels_N: Tensor, threshold: float) -> dict[str, float]:
    """`auc` of all pairs of some images, `tar` and `far` of a threshold; nothing without both kinds of pairs."""
    scores, same = (np.concatenate(part) for part in zip(*_pairs(embeddings_ND, labels_N), strict=True))
    if same.all() or not same.any():
        return {}
    order_P = np.argsort(-scores)
    auc = Roc.of_sorted(scores[order_P], same[order_P]).area()
    accepted = scores >= threshold
    return {"auc": auc, "tar": float(accepted[same].mean()), "far": float(accepted[~same].mean())}


def _fused(network: Path, folder: Path) -> tuple[Tensor, Tensor]:
    features_ND, labels_N = embedded(network, folder)
    return fuse(features_ND, embedded(network, folder, mirrored=True)[0], "concat"), labels_N


def _pairs(embeddings_ND: Tensor, labels_N: Tensor) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Cosines of each image with those after it, and whether they show one person."""
    for place in range(len(labels_N) - 1):
        scores = embeddings_ND[place + 1 :] @ embeddings_ND[place]
        yield scores.numpy(), (labels_N[place + 1 :] == labels_N[place]).numpy()
