"""Verification: are two faces one person? Accuracy, ROC, AUC, EER and TAR at fixed FARs over a list of pairs.

Shapes: N samples, D features, P pairs.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_face.errors import DataError
from lightning_face.evaluation.folds import FoldAccuracies, cross_validate
from lightning_face.evaluation.pairs import PairList
from lightning_face.evaluation.roc import Roc

_PAIRS_PER_CHUNK = 256  # two gathered chunks of 512 float32 features fill 1 MiB and stay in a core's cache


@dataclass(frozen=True)
class VerificationResult:
    """What a list of pairs says about embeddings.

    Args:
        scores_P: (P,) float64, cosine of each pair in the order of the list; squared distance is 2 - 2 cosine.
        same_P: (P,) bool, True for genuine pairs.
        roc: accepted pairs at every threshold, over all folds together.
        threshold: cosine, the best for all pairs together.
        best_accuracy: share of all pairs right at `threshold`; optimistic, since it is chosen on the same pairs.
        folds: accuracy by cross-validation, or None for a list without folds.
    """

    scores_P: NDArray[np.float64]
    same_P: NDArray[np.bool_]
    roc: Roc
    threshold: float
    best_accuracy: float
    folds: FoldAccuracies | None

    @property
    def accuracy(self) -> float:
        """Mean accuracy over folds, or the best accuracy when the list has none."""
        return self.best_accuracy if self.folds is None else self.folds.mean

    @cached_property
    def auc(self) -> float:
        """Area under the ROC curve; see `Roc.area`."""
        return self.roc.area()

    @cached_property
    def eer(self) -> float:
        """Equal error rate; see `Roc.equal_error_rate`."""
        return self.roc.equal_error_rate()

    def scalars(self) -> dict[str, float]:
        """The figures by name, rates in [0, 1] and the threshold a cosine.

        `accuracy_std_error` is there only with folds, and `tar@far=1e-k` only for the FARs that the number of
        impostors supports; see `Roc.tar_at_far`.
        """
        values = {"accuracy": self.accuracy}
        if self.folds is not None:
            values["accuracy_std_error"] = self.folds.std_error
        values |= {"best_accuracy": self.best_accuracy, "auc": self.auc, "eer": self.eer, "threshold": self.threshold}
        return values | {f"tar@far=1e-{k}": tar for k, tar in self.roc.tar_at_far().items()}


def verify(embeddings_ND: Tensor, pairs: PairList) -> VerificationResult:
    """Compare the embeddings of each pair by cosine and evaluate; the same ranking as squared distance of unit vectors.

    Args:
        embeddings_ND: (N, D) of any float type on any device, any norm; row i belongs to sample i.
        pairs: which rows to compare.

    Raises:
        DataError: an embedding is not finite, or a pair names a row that is not there.
    """
    return evaluate(cosines(embeddings_ND, pairs), pairs)


def cosines(embeddings_ND: Tensor, pairs: PairList) -> NDArray[np.float64]:
    """Cosine of each pair.

    Args:
        embeddings_ND: (N, D), as for `verify`; a zero row has cosine 0 with every other.
        pairs: which rows to compare.

    Returns:
        (P,) float64 in [-1, 1].

    Raises:
        DataError: an embedding is not finite, or a pair names a row that is not there.
    """
    dtype = torch.float64 if embeddings_ND.dtype == torch.float64 else torch.float32
    rows_ND = embeddings_ND.detach().to("cpu", dtype).numpy()
    last = int(max(pairs.left_P.max(), pairs.right_P.max()))
    if last >= len(rows_ND):
        raise DataError(f"pairs name sample {last}, but there are {len(rows_ND)} embeddings, embed all")
    norms_N = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND, dtype=np.float64))
    bad = np.flatnonzero(~np.isfinite(norms_N))
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(rows_ND)} embeddings are not finite (first: sample {bad[0]}); the model has diverged,"
            " use an earlier checkpoint or a lower learning rate"
        )
    norms_N[norms_N == 0.0] = 1.0
    dots_P = np.empty(len(pairs))
    for start in range(0, len(pairs), _PAIRS_PER_CHUNK):
        chunk = slice(start, start + _PAIRS_PER_CHUNK)
        left, right = rows_ND[pairs.left_P[chunk]], rows_ND[pairs.right_P[chunk]]
        dots_P[chunk] = np.einsum("pd,pd->p", left, right, dtype=np.float64)
    cosines_P: NDArray[np.float64] = dots_P / (norms_N[pairs.left_P] * norms_N[pairs.right_P])
    return cosines_P.clip(-1.0, 1.0)


def evaluate(scores_P: NDArray[np.float64], pairs: PairList) -> VerificationResult:
    """Evaluate given scores, for protocols whose score is no cosine of two samples (templates, videos).

    Args:
        scores_P: (P,) float64, finite; higher means more alike.
        pairs: the truth and the folds; its sample ids are not read.
    """
    order_P = np.argsort(-scores_P, kind="stable")
    sorted_P, same_P, fold_P = scores_P[order_P], pairs.same_P[order_P], pairs.fold_P[order_P]
    roc = Roc.of_sorted(sorted_P, same_P)
    threshold, best_accuracy = roc.best_threshold()
    folds = cross_validate(sorted_P, same_P, fold_P) if pairs.has_folds else None
    return VerificationResult(scores_P, pairs.same_P, roc, threshold, best_accuracy, folds)
