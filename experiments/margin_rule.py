"""Margin and weight of MML for embeddings of any scale, measured on a finished center model.

The paper's constants, margin 280 and weight 5e-8, belong to its own embeddings. Here the margin is the square of a
quantile of the distances between all pairs of class centers; the weight gives MML's gradient a stated multiple of
center loss's. docs/experiments.md has the algebra.

Shapes: N images, C classes, G samples of a step, U classes of a step, D features.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from experiments.arms import Arm
from experiments.features import embedded
from lightning_face.checkpoint.exported import CENTERS, MOVED_AT
from lightning_face.data.identity_order import IdentityOrder
from lightning_face.errors import DataError
from lightning_face.losses import ClassRows, MinimumMargin, class_sums, moved_centers
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.tables.centers import NEVER

QUANTILE = 0.9
"""Of the pairs of classes, the share that is closer than the margin."""

SHARE = 30.0
"""Norm of MML's gradient over that of center loss's; docs/experiments.md tells how it was found."""

PAPER = MinimumMarginConfig()
_STEPS = 20


@dataclass(frozen=True)
class CenterModel:
    """What the rule asks of a finished center model.

    Args:
        features_ND: of the training images, float64.
        labels_N: their classes.
        centers_CD: the run's own centers, float64: those that MML will see.
        has_center_C: which of them have moved.
        order: of the run's steps.
        weight: of its center loss.
        rate: of its centers.
    """

    features_ND: Tensor
    labels_N: Tensor
    centers_CD: Tensor
    has_center_C: Tensor
    order: IdentityOrder
    weight: float
    rate: float

    @staticmethod
    def of(arm: Arm, train: Path) -> "CenterModel":
        """Of a finished arm with center loss."""
        features_ND, labels_N = embedded(arm.network, train)
        checkpoint = arm.checkpoint
        options, position = checkpoint.options, checkpoint.position
        tables = load_file(arm.network)
        centers_CD, has_center_C = tables[CENTERS].double(), tables[MOVED_AT] != NEVER
        # Lanes meet single images, as an order of identities with one image each does.
        per_identity = position["order"].get("images_per_identity", 1)
        order = IdentityOrder(
            labels_N.numpy(), len(centers_CD), position["global_batch_size"], position["seed"], per_identity
        )
        center = "model.objective.center."
        constants = options[center + "weight"], options[center + "rate"]
        return CenterModel(features_ND, labels_N, centers_CD, has_center_C, order, *constants)

    def constants(self, *, beyond_batch: bool = False) -> tuple[float, float]:
        """Margin and weight by the rule.

        Args:
            beyond_batch: whether the weight is for scope `batch_vs_all`.
        """
        margin = self.margin()
        return margin, self.weight_of(margin, beyond_batch=beyond_batch)

    def margin(self, quantile: float = QUANTILE) -> float:
        """The square of a quantile of the distances between all pairs of centers."""
        return float(np.quantile(torch.pdist(self.centers_CD[self.has_center_C]).numpy(), quantile)) ** 2

    def weight_of(self, margin: float, share: float = SHARE, *, beyond_batch: bool = False) -> float:
        """The weight that gives MML's gradient a share of center loss's.

        Raises:
            DataError: no pair is closer than the margin.
        """
        ratio = self.share(margin, 1.0, beyond_batch=beyond_batch)
        if not ratio:
            raise DataError(f"no two classes of a step are closer than {margin**0.5:.3g}: use larger batches")
        return share / ratio

    def share(self, margin: float, weight: float, *, beyond_batch: bool = False) -> float:
        """Norm of MML's gradient with respect to the features over that of center loss's, root mean square of steps.

        Args:
            margin: of MML.
            weight: of MML, in mode A.
            beyond_batch: with scope `batch_vs_all`.
        """
        slots = np.arange(self.order.global_batch_size)
        ids_TG = self.order.sample_ids(0, 0, min(_STEPS, self.order.steps_per_epoch), slots)
        steps = torch.from_numpy(ids_TG % len(self.labels_N))
        squares = [self._squares(ids_G, margin, beyond_batch) for ids_G in steps]
        of_center, of_margin = np.array(squares).sum(axis=0)
        return weight / self.weight * math.sqrt(of_margin / of_center)

    def _squares(self, ids_G: Tensor, margin: float, beyond_batch: bool) -> tuple[float, float]:
        """Squared norms of both gradients in a step, at weight 1: center loss a mean, MML a sum, in mode A."""
        features_GD, labels_G = self.features_ND[ids_G], self.labels_N[ids_G]
        center = (features_GD - self.centers_CD[labels_G]).square().sum() / len(ids_G) ** 2
        classes_U, slots_G, counts_U = labels_G.unique(return_inverse=True, return_counts=True)
        sums_UD = class_sums(features_GD, slots_G, len(classes_U))
        batch = ClassRows(classes_U, moved_centers(self.centers_CD[classes_U], sums_UD, counts_U, self.rate))
        pairs = MinimumMargin(batch, margin)
        pairs.add_within(range(len(batch)), gradient=True)
        if beyond_batch:
            is_outside_C = self.has_center_C.clone()
            is_outside_C[classes_U] = False
            outside = is_outside_C.nonzero().squeeze(1)
            pairs.add_across(ClassRows(outside, self.centers_CD[outside]), gradient=True)
        # Wen's rule passes rate / (1 + n) of a center's gradient to each of its n samples.
        passed_U = counts_U * (self.rate / (1.0 + counts_U)).square()
        return float(center), float((passed_U * pairs.gradient_UD.square().sum(1)).sum())
