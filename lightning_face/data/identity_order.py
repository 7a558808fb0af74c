"""Batches of identities: P people with K images each, as pure a function of its arguments as the order of lanes.

Range, triplet and contrastive losses need several images of a person in a batch; people with few images may be met more
often than their share.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_face.data.order import STEPS_AT_ONCE, Ids, Slots, check_one_batch
from lightning_face.errors import ConfigError
from lightning_face.hashing import hash64, permutation, uniform

# Shapes: N samples, C identities, T steps, R rows of a step, S slots; V visits of U people with E images each.


@dataclass(frozen=True, eq=False)
class IdentityOrder:
    """Which sample stands in which slot of which step; K neighbouring slots, a row, are of one identity.

    An epoch has as many steps as one of lanes, T. Identities, in an order of the epoch's own, are each visited as
    often as their weight asks for, rounded up or down, and the visits are laid end to end and cut into P stretches of
    T. Row r of the steps takes the visits of stretch r, shuffled: an identity is at most once in a row of the epoch's
    steps, and in two rows only if it fills a stretch or lies across the end of one.

    Args:
        labels_N: class of each sample.
        num_classes: C.
        global_batch_size: G = P x K, samples per optimizer step, over all ranks and micro-batches.
        seed: of all permutations.
        images_per_identity: K. Visits go round an identity's images in an order of the epoch's own; where they come
            to an image again, it is numbered N more than before, so that it is augmented in another way.
        tail_weight: 0 visits identities in proportion to their images, n; 1 visits all equally often; in between, in
            proportion to n^(1 - tail_weight).

    Raises:
        ConfigError: an option out of its range, or fewer samples than one global batch.
    """

    labels_N: NDArray[np.integer]
    num_classes: int
    global_batch_size: int
    seed: int
    images_per_identity: int = 1
    tail_weight: float = 0.0
    steps_at_once: ClassVar[int] = STEPS_AT_ONCE

    def __post_init__(self) -> None:
        check_one_batch(self.num_samples, self.global_batch_size)
        if self.images_per_identity < 1 or self.global_batch_size % self.images_per_identity:
            raise ConfigError(
                f"data.images_per_identity must be at least 1 and divide data.global_batch_size, got"
                f" {self.images_per_identity} and {self.global_batch_size}"
            )
        if not 0.0 <= self.tail_weight <= 1.0:
            raise ConfigError(
                f"data.tail_weight must be in [0, 1], got {self.tail_weight}: 0 visits identities in proportion to"
                " their images, 1 all equally often"
            )

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels_N)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps, T."""
        return self.num_samples // self.global_batch_size

    @property
    def num_rows(self) -> int:
        """Visits to identities in a step, P."""
        return self.global_batch_size // self.images_per_identity

    def state(self) -> dict[str, Any]:
        """What must not change when a run goes on, besides seed and dataset."""
        kind = {"kind": "identities", "images_per_identity": self.images_per_identity}
        return {**kind, "tail_weight": self.tail_weight, "batch": self.global_batch_size}

    def __str__(self) -> str:
        weight = f"tail weight {self.tail_weight:g}"
        return f"{self.num_rows} identities x {self.images_per_identity} images, {weight}, seed {self.seed}"

    def sample_ids(self, epoch: int, first_step: int, num_steps: int, slots: Slots) -> Ids:
        """See `LaneOrder.sample_ids`; a number n stands for sample n mod N."""
        slots_S = np.asarray(slots, dtype=np.int64)
        rows_R, row_of_S = np.unique(slots_S // self.images_per_identity, return_inverse=True)
        steps_T = np.arange(first_step, first_step + num_steps)
        visits = np.empty((2, num_steps, len(rows_R)), dtype=np.int64)
        for column, row in enumerate(rows_R):
            visits[:, :, column] = self._visits(epoch, int(row), steps_T)
        identities_TR, visits_TR = visits
        images_V1 = (visits_TR * self.images_per_identity).reshape(-1, 1)
        ids_VK = self._images(epoch, identities_TR.ravel(), images_V1 + np.arange(self.images_per_identity))
        ids_TRK = ids_VK.reshape(num_steps, len(rows_R), self.images_per_identity)
        return ids_TRK[:, row_of_S, slots_S % self.images_per_identity]

    def _visits(self, epoch: int, row: int, steps_T: Ids) -> tuple[Ids, NDArray[np.integer]]:
        """The identities that a row visits in some steps, and how often each was visited before in the epoch."""
        identities_C, ends_C = self._line(epoch)
        num_steps = self.steps_per_epoch
        places_T = row * num_steps + self._row_order(epoch, row)[steps_T]
        on_line_T = np.searchsorted(ends_C, places_T, side="right")
        starts_T = np.where(on_line_T > 0, ends_C[on_line_T - 1], 0)
        return identities_C[on_line_T], places_T - starts_T

    def _line(self, epoch: int) -> tuple[Ids, Ids]:
        """The identities in the epoch's order, and where the visits of each end on the line."""
        if epoch not in self._lines:
            self._lines.clear()
            identities_C = permutation(self.num_classes, self.seed, "people", epoch)
            heights_C = np.cumsum(self._weights_C[identities_C])
            # A random offset rounds each share up as often as is fair; the whole line keeps its length.
            offset = float(uniform(self.seed, "offset", epoch))
            num_visits = self.steps_per_epoch * self.num_rows
            ends_C = np.floor(heights_C / heights_C[-1] * num_visits + offset).astype(np.int64)
            self._lines[epoch] = identities_C, ends_C
        return self._lines[epoch]

    def _row_order(self, epoch: int, row: int) -> NDArray[np.int32]:
        """The steps of the epoch in the order that a row goes through its stretch; kept for the rows of this rank."""
        if epoch not in self._row_orders:
            self._row_orders.clear()
            self._row_orders[epoch] = {}
        orders = self._row_orders[epoch]
        if row not in orders:
            orders[row] = permutation(self.steps_per_epoch, self.seed, "visits", epoch, row).astype(np.int32)
        return orders[row]

    def _images(self, epoch: int, identities_V: Ids, positions_VK: Ids) -> Ids:
        """Samples of identities, counted round and round their images, which hashes put in order."""
        counts_V, places_VK = self._counts_C[identities_V], np.empty_like(positions_VK)
        # Those with equally many images at once, so that each person's are a row to be sorted by itself.
        for count in np.unique(counts_V).tolist():
            (of_count,) = np.nonzero(counts_V == count)
            people_U, person_of_V = np.unique(identities_V[of_count], return_inverse=True)
            hashes_UE = hash64(self.seed, "images", epoch, people_U[:, None], np.arange(count))
            shuffled_UE = np.argsort(hashes_UE, axis=1, kind="stable")
            places_VK[of_count] = shuffled_UE[person_of_V[:, None], positions_VK[of_count] % count]
        first_V1 = (self._ends_C - self._counts_C)[identities_V][:, None]
        return self._by_identity_N[first_V1 + places_VK] + positions_VK // counts_V[:, None] * self.num_samples

    @cached_property
    def _row_orders(self) -> dict[int, dict[int, NDArray[np.int32]]]:
        return {}

    @cached_property
    def _lines(self) -> dict[int, tuple[Ids, Ids]]:
        return {}

    @cached_property
    def _counts_C(self) -> Ids:
        return np.bincount(self.labels_N, minlength=self.num_classes)

    @cached_property
    def _ends_C(self) -> Ids:
        return np.cumsum(self._counts_C)

    @cached_property
    def _by_identity_N(self) -> Ids:
        # Whole keys are sorted eight times as fast as places are by their keys.
        labels_and_places_N = self.labels_N.astype(np.int64) << 32 | np.arange(self.num_samples)
        return np.sort(labels_and_places_N) & 0xFFFFFFFF

    @cached_property
    def _weights_C(self) -> Ids:
        """Whole numbers: powers may differ in their last bits from machine to machine, and sums of them would too."""
        shares_C = np.where(self._counts_C > 0, self._counts_C.astype(np.float64) ** (1.0 - self.tail_weight), 0.0)
        return np.rint(shares_C * 2**16).astype(np.int64)
