"""Samplers whose items are whole batches, for `DataLoader(dataset, sampler=..., batch_size=None)`."""

from collections.abc import Iterator, Sized
from itertools import chain, count

import numpy as np
from torch.utils.data import Sampler

from lightning_face.data.ahead import ReadAhead
from lightning_face.data.cache import Copies
from lightning_face.data.faces import BatchRequest
from lightning_face.data.order import Ids, Order, slots_of
from lightning_face.data.ring import Ring
from lightning_face.data.shards import Shards


class TrainSampler(Sampler[BatchRequest]):
    """The micro-batches of one rank, epoch after epoch.

    It must be a `sampler`, not a `batch_sampler`: Lightning calls `set_epoch` only on the former. On resume Lightning
    calls `iter()` *before* `set_epoch`, so the position is given at construction.

    Args:
        order: which samples make up a step.
        accumulation: micro-batches per optimizer step.
        rank: of this process.
        num_ranks: that share a micro-batch.
        first_epoch: epoch of the first `iter()`.
        first_step: optimizer steps of that epoch that are already trained.
    """

    def __init__(
        self, order: Order, *, accumulation: int, rank: int, num_ranks: int, first_epoch: int, first_step: int
    ) -> None:
        self._order = order
        self._slots = [
            slots_of(order.global_batch_size, accumulation, micro_batch, rank, num_ranks)
            for micro_batch in range(accumulation)
        ]
        self._epoch = self._resumed_epoch = first_epoch
        self._resumed_step = first_step
        self._ahead: ReadAhead | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next `iter()`."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Micro-batches of a whole epoch, wherever the sampler starts."""
        return self._order.steps_per_epoch * len(self._slots)

    def __iter__(self) -> Iterator[BatchRequest]:
        """Start the epoch, or go on with the resumed one."""
        return self._reported(self._requests(self._epoch))

    def _reported(self, requests: Iterator[BatchRequest]) -> Iterator[BatchRequest]:
        for request in requests:
            if self._ahead is not None:
                self._ahead.read()
            yield request

    def read_ahead(self, shards: Shards, copies: Copies, budget_bytes: int) -> None:
        """Bring shards into the node's cache before they are wanted; see `ReadAhead`."""
        from_here_on = chain.from_iterable(map(self._requests, count(self._epoch)))
        self._ahead = ReadAhead(shards, copies, from_here_on, budget_bytes)

    def _requests(self, epoch: int) -> Iterator[BatchRequest]:
        first_step = self._resumed_step if epoch == self._resumed_epoch else 0
        slots, at_once = np.concatenate(self._slots), self._order.steps_at_once
        for start in range(first_step, self._order.steps_per_epoch, at_once):
            num_steps = min(at_once, self._order.steps_per_epoch - start)
            for step, ids in enumerate(self._order.sample_ids(epoch, start, num_steps, slots), start):
                for micro_batch, own_ids in enumerate(np.split(ids, len(self._slots))):
                    yield BatchRequest(epoch, step * len(self._slots) + micro_batch, own_ids)


class GivenSampler(Sampler[BatchRequest]):
    """Given samples, batch after batch.

    Args:
        ids: sample ids.
        batch_size: the last batch may be smaller.
    """

    def __init__(self, ids: Ids, batch_size: int) -> None:
        self._ids = ids
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Batches."""
        return -(-len(self._ids) // self._batch_size)

    def __iter__(self) -> Iterator[BatchRequest]:
        """The batches in order."""
        for number in range(len(self)):
            yield BatchRequest(0, number, self._ids[number * self._batch_size : (number + 1) * self._batch_size])


class SequentialSampler(GivenSampler):
    """Every sample once, in order, in equally many equally large batches on each rank.

    The last rank's last samples are repeated to fill its batches: consumers store results by sample id.

    Args:
        dataset: whose samples are listed.
        batch_size: of one rank.
        rank: of this process.
        num_ranks: that share the samples in contiguous blocks.
    """

    def __init__(self, dataset: Sized, *, batch_size: int, rank: int, num_ranks: int) -> None:
        super().__init__(share_of(len(dataset), 1, rank, num_ranks), batch_size)


class PlacingSampler(Sampler[BatchRequest]):
    """The requests of another sampler, each with a place for its images.

    Args:
        requests: the other sampler.
        ring: of places.
    """

    def __init__(self, requests: TrainSampler | GivenSampler, ring: Ring) -> None:
        self._requests = requests
        self._ring = ring

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next `iter()`."""
        if isinstance(self._requests, TrainSampler):
            self._requests.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches."""
        return len(self._requests)

    def __iter__(self) -> Iterator[BatchRequest]:
        """The other's, in its order."""
        for request in self._requests:
            yield request._replace(place=self._ring.take())


def share_of(number: int, batch_size: int, rank: int, num_ranks: int) -> Ids:
    """Places of [0, number) that a rank takes: a contiguous block of whole batches, equally many on each rank.

    Where they begin and end does not depend on the number of ranks. The last place is repeated to fill the batches.
    """
    per_rank = -(-number // (batch_size * num_ranks)) * batch_size
    return np.minimum(np.arange(rank * per_rank, (rank + 1) * per_rank), number - 1)
