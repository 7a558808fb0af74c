"""Accuracy by cross-validation over folds.

Shapes: P pairs, F folds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_face.evaluation.roc import Roc


@dataclass(frozen=True)
class FoldAccuracies:
    """Accuracy by cross-validation.

    Args:
        thresholds_F: (F,) float64 cosine, each chosen on the other folds.
        accuracies_F: (F,) float64 in [0, 1], each measured on the fold itself.
    """

    thresholds_F: NDArray[np.float64]
    accuracies_F: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Mean accuracy over folds."""
        return float(self.accuracies_F.mean())

    @property
    def std_error(self) -> float:
        """Standard error of the mean: standard deviation with ddof=1, divided by the root of the number of folds.

        insightface and facenet print the plain standard deviation (ddof=0), about three times as large for 10 folds.
        """
        return float(self.accuracies_F.std(ddof=1) / np.sqrt(len(self.accuracies_F)))


def cross_validate(
    scores_P: NDArray[np.float64], same_P: NDArray[np.bool_], fold_P: NDArray[np.int64]
) -> FoldAccuracies:
    """Choose the threshold on all folds but one, test on that one, for each in turn.

    Args:
        scores_P: (P,) float64, finite, falling; higher means more alike.
        same_P: (P,) bool, True for genuine; every fold has both kinds.
        fold_P: (P,) int64, at least two folds.

    Source: LFW, view 2: Huang et al., Labeled Faces in the Wild (2007), and the README of the data set.
    """
    thresholds, accuracies = [], []
    for fold in np.unique(fold_P):
        tested_P = fold_P == fold
        threshold, _ = Roc.of_sorted(scores_P[~tested_P], same_P[~tested_P]).best_threshold()
        thresholds.append(threshold)
        accuracies.append(np.mean((scores_P[tested_P] >= threshold) == same_P[tested_P]))
    return FoldAccuracies(np.array(thresholds), np.array(accuracies))
