"""A sharded classifier of which a step sees a sample of the classes."""

from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from lightning_face.losses.chunked import Chunk, Scored, row_gradient
from lightning_face.optim.rows import Part
from lightning_face.tables.block import held_places
from lightning_face.tables.sampling import is_sampled
from lightning_face.tables.sharded_classifier import ShardedClassifier

# Shapes: G global batch, D embedding dimension, H classes held by this rank, R of them in a part.


class SampledClassifier(ShardedClassifier):
    """Partial FC: negatives are the step's sample of the classes, and the classes of the batch itself.

    The sample is a hash of (seed, step, class id), the same for any number of ranks. All micro-batches of a step share
    it, and each adds the classes of its own samples. Rows that no micro-batch of a step sees cost nothing and keep
    their bits, as does their optimizer's state: neither weight decay nor momentum moves them. What is
    summed over negatives is summed over those that are seen, whatever the reduction: nothing makes up for the others.

    Args:
        num_classes: C.
        dim: D.
        sample_rate: share of the classes in a step's sample, in (0, 1].
        seed: of the samples, and of the initial rows.
        device: of the rows.
        options: see `ShardedClassifier`.

    Source:
        An et al., "Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial
        FC", CVPR 2022. There each rank fills the batch's classes up to a fixed number, so that another number of ranks
        draws other samples; here each class is drawn by itself.
    """

    def __init__(
        self, num_classes: int, dim: int, *, sample_rate: float, seed: int, device: torch.device, **options: Any
    ) -> None:
        super().__init__(num_classes, dim, seed=seed, device=device, **options)
        self._sample_rate = sample_rate
        self._seed = seed
        # In the checkpoint: a run that goes on draws the samples that it would have drawn.
        self._num_steps = torch.zeros((), dtype=torch.int64)

    def chunks(self, labels_G: Tensor) -> Iterator[tuple[Part, Chunk]]:
        """See `ShardedClassifier.chunks`: the rows of the sample and of the batch's classes."""
        for part_R in self._parts(self._is_seen(labels_G), len(labels_G)):
            yield part_R, self._chunk(part_R, labels_G)

    def step(self, learning_rate: float) -> None:
        """See `ShardedClassifier.step`; afterwards another sample is drawn."""
        super().step(learning_rate)
        self._num_steps += 1

    def state(self) -> dict[str, Tensor]:
        """See `ShardedClassifier.state`; also the number of steps taken, an int64 scalar on the CPU."""
        # Not `step`: that is the optimizer's own.
        return {**super().state(), "classifier.num_steps": self._num_steps}

    def _is_seen(self, labels_G: Tensor) -> Tensor:
        """Which of the held classes (H,) a batch of this step is scored against."""
        step = int(self._num_steps)
        is_seen_H = is_sampled(self.held, self._sample_rate, seed=self._seed, step=step, device=self.rows.device)
        is_seen_H[held_places(self.held, labels_G)[1]] = True
        return is_seen_H

    def _chunk(self, part_R: Tensor, labels_G: Tensor) -> Chunk:
        """The rows at some places."""
        places_G = labels_G - self.held.start
        columns_G = torch.searchsorted(part_R, places_G).clamp_max(len(part_R) - 1)
        return Chunk(self.rows[part_R], torch.where(part_R[columns_G] == places_G, columns_G, -1))

    def _gradients(self) -> Iterator[tuple[Part, Tensor]]:
        """See `ShardedClassifier._gradients`: of all rows that some batch sees, from those batches that see them."""
        seen_by = [self._is_seen(scored.labels_G) for scored in self._pending]
        for part_R in self._parts(torch.stack(seen_by).any(0), len(self._pending[0].labels_G)):
            batches = zip(self._pending, seen_by, strict=True)
            yield part_R, reduce(Tensor.add_, (self._gradient(part_R, *batch) for batch in batches))

    def _gradient(self, part_R: Tensor, scored: Scored, is_seen_H: Tensor) -> Tensor:
        """Of some rows, zero for those that the batch does not see."""
        gradient = row_gradient(self._chunk(part_R, scored.labels_G), scored)
        gradient[~is_seen_H[part_R]] = 0.0  # they are few: leaving them out would wait for the device in every chunk
        return gradient

    def _parts(self, is_seen_H: Tensor, num_samples: int) -> Iterator[Tensor]:
        """The places of the rows that are seen, sorted, in parts of a chunk each; none where there is no such row."""
        places = is_seen_H.nonzero().squeeze(1)
        size = self.chunk_size(num_samples)
        for start in range(0, len(places), size):
            yield places[start : start + size]
