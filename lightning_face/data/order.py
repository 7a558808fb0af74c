"""The order of data: a pure function of (shards, seed, epoch, global batch size, lanes, window).

Permute the shards, lay them end to end, rotate the line, cut it into lanes, shuffle within windows of each lane. A step
takes equally many samples of every lane. Ranks, nodes, workers and resume decide who reads a sample, never which
samples make up a step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_face.errors import ConfigError
from lightning_face.hashing import hash64, permutation

Ids = NDArray[np.int64]
Slots = Sequence[int] | Ids

STEPS_AT_ONCE = 64
"""Steps whose ids are computed together where nothing speaks against it: 0.2 us a sample instead of 2."""


class Order(Protocol):
    """Which sample stands in which slot of which step; `str` says it in a line."""

    @property
    def global_batch_size(self) -> int:
        """G, samples per optimizer step over all ranks and micro-batches."""

    @property
    def seed(self) -> int:
        """Of all permutations."""

    @property
    def num_samples(self) -> int:
        """N."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps."""

    @property
    def steps_at_once(self) -> int:
        """Steps whose ids may be asked for together; a reader needs no step beyond these."""

    def sample_ids(self, epoch: int, first_step: int, num_steps: int, slots: Slots) -> Ids:
        """See `LaneOrder.sample_ids`."""

    def state(self) -> dict[str, Any]:
        """What must not change when a run goes on, besides seed and dataset; JSON can hold it."""


def check_one_batch(num_samples: int, global_batch_size: int) -> None:
    """Raise ConfigError unless there is a global batch, and samples for one."""
    if global_batch_size < 1:
        raise ConfigError(f"data.global_batch_size must be above 0, got {global_batch_size}")
    if num_samples < global_batch_size:
        raise ConfigError(
            f"global_batch_size {global_batch_size} is more than the dataset's {num_samples} samples: an epoch would"
            f" have no step; use at most {num_samples}"
        )


def check_divisible(global_batch_size: int, parts: int, meaning: str) -> None:
    """Raise ConfigError unless a number of parts divides the global batch; name the nearest that it does."""
    if global_batch_size % parts:
        below = global_batch_size // parts * parts
        nearest = f"{below} or {below + parts}" if below else f"{parts}"
        raise ConfigError(
            f"global_batch_size {global_batch_size} must be divisible by {meaning} = {parts}; the nearest is {nearest}"
        )


@dataclass(frozen=True)
class LaneOrder:
    """Which sample stands in which slot of which step.

    Args:
        shard_samples: number of samples in each shard; sample ids count through the shards in this order.
        global_batch_size: samples per optimizer step, over all ranks and micro-batches; G.
        seed: of all permutations.
        lanes: L; the order uses gcd(L, G) of them.
        window: samples that are shuffled together for each of L lanes; 0 shuffles whole lanes, for shards that are
            sorted by identity.

    Raises:
        ConfigError: a size is not positive, or there are fewer samples than one global batch.
    """

    shard_samples: tuple[int, ...]
    global_batch_size: int
    seed: int
    lanes: int = 64
    window: int = 4096
    steps_at_once: ClassVar[int] = STEPS_AT_ONCE

    def __post_init__(self) -> None:
        if self.lanes < 1 or self.window < 0:
            raise ConfigError(
                f"data.lanes must be above 0 and data.window not negative, got {self.lanes} and {self.window}"
            )
        check_one_batch(self.num_samples, self.global_batch_size)

    @property
    def num_samples(self) -> int:
        """N."""
        return sum(self.shard_samples)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps; the N mod G samples left over differ from epoch to epoch."""
        return self.num_samples // self.global_batch_size

    @property
    def num_lanes(self) -> int:
        """Lanes in use: gcd(L, G), so that every step takes equally many samples of each."""
        return math.gcd(self.lanes, self.global_batch_size)

    def state(self) -> dict[str, Any]:
        """See `Order.state`; the batch size may change where the lanes divide both."""
        return {"kind": "lanes", "lanes": self.lanes, "window": self.window}

    def __str__(self) -> str:
        return f"{self.num_lanes} lanes, window {self.window or 'whole lanes'}, seed {self.seed}"

    def sample_ids(self, epoch: int, first_step: int, num_steps: int, slots: Slots) -> Ids:
        """Sample ids of some slots of consecutive steps.

        Args:
            epoch: from 0.
            first_step: in [0, steps_per_epoch].
            num_steps: how many steps.
            slots: in [0, global_batch_size), in any order.

        Returns:
            (num_steps, len(slots)) int64.
        """
        slots_S = np.asarray(slots, dtype=np.int64)
        per_lane = self.global_batch_size // self.num_lanes
        lanes_S = slots_S // per_lane
        steps_T1 = np.arange(first_step, first_step + num_steps)[:, None]
        line_TS = np.empty((num_steps, len(slots_S)), dtype=np.int64)
        for lane in np.unique(lanes_S):
            columns = np.flatnonzero(lanes_S == lane)
            positions = steps_T1 * per_lane + slots_S[columns] % per_lane
            line_TS[:, columns] = self._line_positions(epoch, int(lane), positions)
        return self._samples_on_line(epoch, line_TS)

    def _line_positions(self, epoch: int, lane: int, positions: Ids) -> Ids:
        """Where on the line the shuffled positions of a lane stand, before the line is rotated."""
        start = lane * self.num_samples // self.num_lanes
        length = (lane + 1) * self.num_samples // self.num_lanes - start
        width = min(self.window * self.lanes // self.num_lanes or length, length)
        result = np.empty_like(positions)
        for window in np.unique(positions // width):
            inside = positions // width == window
            first = window * width
            shuffled = _window_order(self.seed, epoch, lane, int(window), min(width, length - first))
            result[inside] = start + first + shuffled[positions[inside] - first]
        return result

    def _samples_on_line(self, epoch: int, line: Ids) -> Ids:
        shards, ends, first_ids = _shard_line(self.shard_samples, self.seed, epoch)
        offset = int(hash64(self.seed, "rotate", epoch) % np.uint64(self.num_samples))
        rotated = (line + offset) % self.num_samples
        place = np.searchsorted(ends, rotated, side="right")
        sizes = np.diff(ends, prepend=0)
        return first_ids[shards[place]] + rotated - (ends[place] - sizes[place])


@lru_cache(maxsize=256)
def _window_order(seed: int, epoch: int, lane: int, window: int, size: int) -> Ids:
    return permutation(size, seed, "window", epoch, lane, window)


@lru_cache(maxsize=4)
def _shard_line(shard_samples: tuple[int, ...], seed: int, epoch: int) -> tuple[Ids, Ids, Ids]:
    """The shards in the epoch's order, where each ends on the line, and the id of each shard's first sample."""
    sizes = np.asarray(shard_samples, dtype=np.int64)
    shards = permutation(len(sizes), seed, "shards", epoch)
    return shards, np.cumsum(sizes[shards]), np.cumsum(sizes) - sizes


def slots_of(global_batch_size: int, accumulation: int, micro_batch: int, rank: int, num_ranks: int) -> Ids:
    """The slots that one rank takes of one micro-batch.

    Micro-batch a is the block [a G/A, (a + 1) G/A) of a step's slots whatever the number of ranks, so that terms which
    see each micro-batch alone do not depend on it either; ranks share the block contiguously, which keeps a rank in
    its own lanes and so in its own shards.

    Raises:
        ConfigError: G is not divisible by ranks times accumulation; names the nearest that is.
    """
    parts = accumulation * num_ranks
    check_divisible(global_batch_size, parts, f"ranks x accumulation = {num_ranks} x {accumulation}")
    size = global_batch_size // parts
    first = (micro_batch * num_ranks + rank) * size
    return np.arange(first, first + size)
