"""How ten trainings decide LFW's View 2, beside what others reached: the table and the numbers of the plot.

Shapes: P pairs, F folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_face.evaluation.folds import FoldAccuracies
from lightning_face.evaluation.pairs import NO_FOLDS, PairList
from lightning_face.evaluation.verification import VerificationResult, evaluate

PUBLISHED = {"Joint Bayesian": 0.9090, "high-dim LBP": 0.9318, "MDML-DCPs": 0.9558}
"""Mean accuracies with label-free outside data: the next easier protocol of LFW's page of results."""


@dataclass(frozen=True)
class Outcome:
    """What all folds say.

    Args:
        folds: their thresholds and accuracies.
        results: of each fold's pairs.
    """

    folds: FoldAccuracies
    results: Sequence[VerificationResult]

    @staticmethod
    def of(decided: Sequence[tuple[float, VerificationResult]]) -> "Outcome":
        """Decide each fold's pairs by its own threshold."""
        accuracies = [np.mean((result.scores_P >= threshold) == result.same_P) for threshold, result in decided]
        thresholds_F = np.array([threshold for threshold, _ in decided])
        return Outcome(FoldAccuracies(thresholds_F, np.array(accuracies)), [result for _, result in decided])

    def together(self) -> VerificationResult:
        """All pairs, by how far their scores are above the threshold of their fold."""
        scores = [r.scores_P - threshold for r, threshold in zip(self.results, self.folds.thresholds_F, strict=True)]
        return result_of(np.concatenate(scores), np.concatenate([result.same_P for result in self.results]))

    def table(self) -> str:
        """Markdown: the mean and its standard error beside the published ones, then fold by fold."""
        lines = ["| | outside data | accuracy |", "|---|---|---|", f"| this | none | **{self.mean()}** |"]
        lines += [f"| {name} | label-free | {accuracy:.4f} |" for name, accuracy in PUBLISHED.items()]
        lines += ["", "| fold | threshold | accuracy | at its best threshold | AUC |", "|---|---|---|---|---|"]
        for number, result in enumerate(self.results):
            by = (self.folds.accuracies_F[number], result.best_accuracy, result.auc)
            figures = " | ".join(f"{figure:.4f}" for figure in by)
            lines.append(f"| {number + 1} | {self.folds.thresholds_F[number]:.3f} | {figures} |")
        return "\n".join(lines) + "\n"

    def mean(self) -> str:
        """Mean accuracy and its standard error."""
        return f"{self.folds.mean:.4f} ± {self.folds.std_error:.4f}"


def result_of(scores_P: NDArray[np.float64], same_P: NDArray[np.bool_]) -> VerificationResult:
    """Of some pairs by themselves, whatever fold they are of."""
    unread_P = np.zeros(len(scores_P), dtype=np.int64)
    return evaluate(scores_P, PairList(unread_P, unread_P, same_P, np.full(len(scores_P), NO_FOLDS)))
