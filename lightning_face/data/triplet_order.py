"""Batches of triplets that were mined every n steps among a subset of the images.

"Generate triplets offline every n steps, using the most recent network checkpoint and computing the argmin and argmax
on a subset of the data" (Schroff et al., FaceNet, CVPR 2015, section 3.2).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_face.data.identity_order import IdentityOrder
from lightning_face.data.order import Ids, Slots, check_divisible, check_one_batch
from lightning_face.errors import ConfigError

# Shapes: N samples, C identities, M of the samples a window's subset, T triplets of a window, S slots.


@dataclass(frozen=True, eq=False)
class TripletOrder:
    """Which sample stands in which slot of which step: anchor, positive and negative of a triplet are neighbours.

    The optimizer steps of the whole run, counted through its epochs, are cut into windows of n. A window trains
    T = n G / 3 triplets, whose anchors are the first T samples of its subset. The subset is a batch of `IdentityOrder`,
    so it is as pure a function of its arguments as other orders. Which positives and negatives they have depends on the
    network, and is remembered: `TripletMining` tells it one window ahead, and checkpoints keep it.

    An epoch has as many steps as that of other orders. Each slot of it is numbered N more than the one before, so that
    an image is augmented in another way wherever it comes again.

    Args:
        labels_N: class of each sample.
        num_classes: C.
        global_batch_size: G, samples per optimizer step, over all ranks and micro-batches.
        seed: of all permutations.
        every_n_steps: n.
        images_per_identity: images of each identity that stand in a subset together.
        tail_weight: see `IdentityOrder`.

    Raises:
        ConfigError: an option out of its range, or fewer samples than a subset has.
    """

    labels_N: NDArray[np.integer]
    num_classes: int
    global_batch_size: int
    seed: int
    every_n_steps: int
    images_per_identity: int = 2
    tail_weight: float = 0.0
    steps_at_once: ClassVar[int] = 1  # those of the next window may not be known yet

    def __post_init__(self) -> None:
        check_one_batch(self.num_samples, self.global_batch_size)
        check_divisible(self.global_batch_size, 3, "the samples of a triplet")
        if self.every_n_steps < 1 or self.images_per_identity < 2:
            raise ConfigError(
                "data.mine_every_n_steps must be at least 1, and data.images_per_identity beside it at least 2, got"
                f" {self.every_n_steps} and {self.images_per_identity}"
            )
        if self.num_triplets <= self.images_per_identity:
            raise ConfigError(
                f"data.images_per_identity {self.images_per_identity} leaves no other identity among the"
                f" {self.num_triplets} images that data.mine_every_n_steps {self.every_n_steps} mines among: lower the"
                " former, or raise the latter"
            )
        if self.subset_size > self.num_samples:
            whole = self.num_samples // self.images_per_identity * self.images_per_identity
            most = 3 * whole // self.global_batch_size
            raise ConfigError(
                f"data.mine_every_n_steps {self.every_n_steps} mines among {self.subset_size} images, each of which is"
                f" the anchor of a triplet, but the dataset has {self.num_samples}; use"
                f" at most {most}"
            )
        _ = self._subsets  # it checks the tail weight

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels_N)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps, as many as those of other orders."""
        return self.num_samples // self.global_batch_size

    @property
    def num_triplets(self) -> int:
        """Of a window, T."""
        return self.every_n_steps * self.global_batch_size // 3

    @property
    def subset_size(self) -> int:
        """M: as many samples as a window has triplets, in whole identities."""
        return -(-self.num_triplets // self.images_per_identity) * self.images_per_identity

    def check_micro_batches(self, num_ranks: int, accumulation: int, num_ahead: int) -> None:
        """Raise ConfigError unless micro-batches of a rank hold whole triplets, and reading ahead stays in a window.

        Args:
            num_ranks: that share a micro-batch.
            accumulation: micro-batches per optimizer step.
            num_ahead: micro-batches that are read beyond the one that is trained.
        """
        parts = 3 * num_ranks * accumulation
        meaning = f"samples of a triplet x ranks x accumulation = 3 x {num_ranks} x {accumulation}"
        check_divisible(self.global_batch_size, parts, meaning)
        if num_ahead >= self.every_n_steps * accumulation:
            raise ConfigError(
                f"data.mine_every_n_steps must be at least {num_ahead // accumulation + 1}, got {self.every_n_steps}:"
                f" data.num_workers read {num_ahead} micro-batches ahead, and what follows a window is not known yet"
            )

    def state(self) -> dict[str, Any]:
        """What must not change when a run goes on, besides seed and dataset."""
        kind = {"kind": "triplets", "every_n_steps": self.every_n_steps}
        of_subset = {"images_per_identity": self.images_per_identity, "tail_weight": self.tail_weight}
        return {**kind, **of_subset, "batch": self.global_batch_size}

    def __str__(self) -> str:
        return f"triplets mined every {self.every_n_steps:,} steps among {self._subsets}"

    def window(self, epoch: int, step: int) -> int:
        """Number of the window that a step of an epoch belongs to."""
        return (epoch * self.steps_per_epoch + step) // self.every_n_steps

    def subset(self, window: int) -> Ids:
        """Samples (M,) among which the triplets of a window are mined."""
        epoch, step = divmod(window, self._subsets.steps_per_epoch)
        return self._subsets.sample_ids(epoch, step, 1, range(self.subset_size))[0] % self.num_samples

    def remember(self, window: int, triplets_T3: Ids) -> None:
        """Learn the samples of a window's triplets; those of windows that are trained are forgotten."""
        assert triplets_T3.shape == (self.num_triplets, 3), triplets_T3.shape
        self.mined[window] = triplets_T3
        for former in [number for number in self.mined if number < window - 1]:
            del self.mined[former]

    @cached_property
    def mined(self) -> dict[int, Ids]:
        """Samples (T, 3) of the triplets that are known, by window."""
        return {}

    def sample_ids(self, epoch: int, first_step: int, num_steps: int, slots: Slots) -> Ids:
        """See `LaneOrder.sample_ids`; a number i stands for sample i mod N."""
        slots_S = np.asarray(slots, dtype=np.int64)
        ids = np.empty((num_steps, len(slots_S)), dtype=np.int64)
        for row, step in enumerate(range(first_step, first_step + num_steps)):
            window = self.window(epoch, step)
            assert window in self.mined, f"triplets of window {window} are not mined, those of {[*self.mined]} are"
            first = (epoch * self.steps_per_epoch + step) % self.every_n_steps * self.global_batch_size
            samples_S = self.mined[window].ravel()[first + slots_S]
            ids[row] = samples_S + (step * self.global_batch_size + slots_S) * self.num_samples
        return ids

    @cached_property
    def _subsets(self) -> IdentityOrder:
        of_people = (self.labels_N, self.num_classes, self.subset_size, self.seed)
        return IdentityOrder(*of_people, self.images_per_identity, self.tail_weight)
