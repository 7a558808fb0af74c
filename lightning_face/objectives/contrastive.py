"""The contrastive term."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_face.distributed.collectives import all_gather_rows
from lightning_face.losses import Costs, Pairs, contrastive_loss, separating_distance
from lightning_face.objectives.batch import MicroBatch
from lightning_face.objectives.pairs import PairReduction, PairTerm, check_distance, check_pair_reduction, check_weight

ACTIVE_POSITIVES, ACTIVE_NEGATIVES = "contrastive_active_positives", "contrastive_active_negatives"
"""Facts that are logged beside the loss: shares of the positive and of the negative pairs that cost something."""


@dataclass(frozen=True)
class ContrastiveConfig:
    """Contrastive loss, as by Hadsell et al. (CVPR 2006), or with a margin as in DeepID2 (Sun et al., NeurIPS 2014).

    Args:
        weight: factor of the term.
        margin: the *distance*, not squared, from which on a negative pair costs nothing. null re-estimates it in
            each micro-batch as the distance that tells its pairs apart with the smallest rate of errors: DeepID2
            re-estimates it too, but by a rule that is not verified. Such a margin shrinks as features do: it needs
            another loss beside it.
        reduction: `sum` over ordered pairs, `mean` over them, or `mean_nonzero` over those that cost something; means
            are taken over positive and negative pairs separately, since there are so many more negative ones.
        normalise: compare unit features; the papers compare raw ones, to whose scale the margin must then belong.
    """

    weight: float = 1.0
    margin: float | None = 1.0
    reduction: PairReduction = "mean"
    normalise: bool = True

    def __post_init__(self) -> None:
        check_weight("contrastive", self.weight)
        check_pair_reduction("contrastive", self.reduction)
        if self.margin is not None:
            check_distance("contrastive.margin", self.margin, normalise=self.normalise, squared=False)


class ContrastiveTerm(PairTerm):
    """Pulls pairs of a class together, pushes others beyond the margin."""

    name = "contrastive"

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__(config.weight, config.reduction, config.normalise)
        self._margin = config.margin

    def costs(self, batch: MicroBatch) -> dict[str, Costs]:
        """See `PairTerm.costs`."""
        pairs = self.pairs(batch)
        margin = _estimated_margin(pairs) if self._margin is None else self._margin
        positive, negative = contrastive_loss(pairs, margin)
        return {ACTIVE_POSITIVES: positive, ACTIVE_NEGATIVES: negative}


def _estimated_margin(pairs: Pairs) -> Tensor:
    """From the pairs of all ranks; every rank calls."""
    kinds_BG = (pairs.is_positive_BG, pairs.is_negative_BG)
    is_positive_GG, is_negative_GG = (all_gather_rows(kind_BG.to(torch.uint8)).bool() for kind_BG in kinds_BG)
    return separating_distance(all_gather_rows(pairs.squares_BG.detach()), is_positive_GG, is_negative_GG)
