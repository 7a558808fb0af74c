"""Counts of accepted pairs at every threshold that matters, and the figures read off them.

Own arithmetic, in integers: torchmetrics' ROC returns float32 rates, too coarse to count a false accept in 16 million,
and passes scores outside [0, 1], such as cosines, through a sigmoid. Its area serves.

Shapes: P pairs; T thresholds, the distinct scores and one above them all.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.utilities.compute import auc

FAR_EXPONENTS = (1, 2, 3, 4, 5, 6)
"""TAR is reported at FAR = 10**-k for these k."""

MIN_FALSE_ACCEPTS = 3
"""A FAR is reported when it stands for at least this many impostor pairs (the "rule of three": when none of n trials
fails, the failure rate is below 3/n with 95 % confidence, so n impostors say nothing about a FAR below 3/n)."""


@dataclass(frozen=True)
class Roc:
    """Accepted pairs at each threshold; a pair is accepted when its score is at least the threshold.

    Pairs of equal score are accepted together: there is one entry for each distinct score.

    Args:
        thresholds_T: (T,) float64, falling; the first is infinity (nothing accepted), the others the distinct scores.
        true_accepts_T: (T,) int64, genuine pairs accepted, from 0 to all.
        false_accepts_T: (T,) int64, impostor pairs accepted, from 0 to all.
    """

    thresholds_T: NDArray[np.float64]
    true_accepts_T: NDArray[np.int64]
    false_accepts_T: NDArray[np.int64]

    @staticmethod
    def of_sorted(scores_P: NDArray[np.float64], same_P: NDArray[np.bool_]) -> "Roc":
        """Count over pairs sorted by falling score.

        Args:
            scores_P: (P,) float64, finite, falling; higher means more alike.
            same_P: (P,) bool, True for genuine; both kinds must occur.
        """
        last_of_score_T = np.flatnonzero(np.append(scores_P[1:] != scores_P[:-1], True))
        true_accepts_T = np.cumsum(same_P)[last_of_score_T]
        false_accepts_T = last_of_score_T + 1 - true_accepts_T
        return Roc(
            np.concatenate([[np.inf], scores_P[last_of_score_T]]),
            np.concatenate([[0], true_accepts_T]),
            np.concatenate([[0], false_accepts_T]),
        )

    @property
    def genuine(self) -> int:
        """Number of genuine pairs."""
        return int(self.true_accepts_T[-1])

    @property
    def impostors(self) -> int:
        """Number of impostor pairs."""
        return int(self.false_accepts_T[-1])

    @property
    def tar_T(self) -> NDArray[np.float64]:
        """(T,) true accept rate, in [0, 1], rising."""
        return self.true_accepts_T / self.genuine

    @property
    def far_T(self) -> NDArray[np.float64]:
        """(T,) false accept rate, in [0, 1], rising."""
        return self.false_accepts_T / self.impostors

    def area(self) -> float:
        """Area under TAR over FAR: the chance that a genuine pair outscores an impostor pair, ties counting half."""
        return float(auc(torch.from_numpy(self.far_T), torch.from_numpy(self.tar_T)))

    def equal_error_rate(self) -> float:
        """The rate where false accepts equal false rejects, on straight lines between neighbouring thresholds."""
        excess_T = self.far_T + self.tar_T - 1.0  # FAR minus FRR: rises strictly from -1 to 1
        after = int(np.argmax(excess_T >= 0.0))
        share = excess_T[after] / (excess_T[after] - excess_T[after - 1])
        return float(self.far_T[after] - share * (self.far_T[after] - self.far_T[after - 1]))

    def tar_at_far(self) -> dict[int, float]:
        """TAR at the FARs 10**-k that the number of impostors supports (see `MIN_FALSE_ACCEPTS`).

        Each is the highest TAR of a threshold whose FAR does not exceed 10**-k: no interpolation, so that the rate is
        one that a user can have.

        Returns:
            k to TAR, in [0, 1].
        """
        found = {}
        for exponent in FAR_EXPONENTS:
            allowed = self.impostors // 10**exponent  # in integers: 0.001 has no exact float
            if self.impostors >= MIN_FALSE_ACCEPTS * 10**exponent:
                last = int(np.searchsorted(self.false_accepts_T, allowed, side="right")) - 1
                found[exponent] = float(self.true_accepts_T[last] / self.genuine)
        return found

    def best_threshold(self) -> tuple[float, float]:
        """The threshold with the most pairs right, and the share of pairs that it gets right.

        It lies midway between the lowest accepted and the highest rejected score, so that it does not lean on either;
        among equally good ones the strictest is taken (as insightface's grid does).
        """
        right_T = self.true_accepts_T + (self.impostors - self.false_accepts_T)
        best = int(np.argmax(right_T))
        accuracy = float(right_T[best] / (self.genuine + self.impostors))
        if best == 0:
            return float(np.nextafter(self.thresholds_T[1], np.inf)), accuracy
        accepted = float(self.thresholds_T[best])
        if best == len(self.thresholds_T) - 1:
            return accepted, accuracy
        rejected = float(self.thresholds_T[best + 1])
        middle = (accepted + rejected) / 2.0
        # Between neighbouring floats the middle may round to the rejected score.
        return (middle if middle > rejected else accepted), accuracy
