"""What a head may know of a micro-batch's samples, over all ranks."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lightning_face.distributed.collectives import all_gather_rows
from lightning_face.losses import Scoring
from lightning_face.losses.heads import Head
from lightning_face.objectives.batch import MicroBatch
from lightning_face.tables.classifier import Classifier

# Shapes: B samples of this rank, G of all ranks, C classes.


@dataclass(frozen=True)
class BatchSamples:
    """See `Samples`: what is asked for is exchanged, once; nothing else is.

    Args:
        batch: the micro-batch.
        head: who asks.
        classifier: scores the samples.
        rarity_C: images of the rarest class over those of each, float32; None where the head does not ask.
    """

    batch: MicroBatch
    head: Head
    classifier: Classifier
    rarity_C: Tensor | None

    @cached_property
    def norms_B(self) -> Tensor:
        """See `Samples.norms_B`."""
        with torch.enable_grad():  # whoever asks first may do without a gradient, others need it
            return self.batch.features_BD.norm(dim=1)

    @cached_property
    def targets_G(self) -> Tensor:
        """See `Samples.targets_G`."""
        scoring = Scoring(unit_features=self.head.unit_features, unit_rows=self.head.unit_rows)
        return self.classifier.own_values(self.batch, scoring)

    @property
    def noise_B(self) -> Tensor:
        """See `Samples.noise_B`."""
        assert self.batch.noise_B is not None, "a head that draws margins needs the samples' noise"
        return self.batch.noise_B

    @cached_property
    def rarity_B(self) -> Tensor:
        """See `Samples.rarity_B`."""
        assert self.rarity_C is not None, "a head that asks for class counts says so"
        return self.rarity_C[self.batch.labels_B]

    def everyone(self, values_B: Tensor) -> Tensor:
        """See `Samples.everyone`."""
        return all_gather_rows(values_B.detach())

    def own(self, values_G: Tensor) -> Tensor:
        """See `Samples.own`."""
        return values_G[self.batch.own]
