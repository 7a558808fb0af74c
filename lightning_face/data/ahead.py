"""Brings the shards of coming steps into the node's cache while the present ones are trained."""

import threading
from collections.abc import Iterator

import numpy as np

from lightning_face.data.cache import Copies
from lightning_face.data.faces import BatchRequest
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError


class ReadAhead:
    """Runs before a rank's requests, in a thread. What it cannot bring, the workers ask for themselves, and report.

    Args:
        shards: of the dataset.
        copies: of them in the node's cache.
        requests: this rank's from the first that will be read, an iterator of its own.
        budget_bytes: that shards of requests still to be read may take.
    """

    def __init__(self, shards: Shards, copies: Copies, requests: Iterator[BatchRequest], budget_bytes: int) -> None:
        self._shards = shards
        self._copies = copies
        self._requests = requests
        self._budget_bytes = budget_bytes
        self._num_read = 0
        self._is_read = threading.Condition()

    def read(self) -> None:
        """Say that the next request is being read.

        The first one starts the thread: workers are forked before, and would be forked with the locks that it holds.
        """
        with self._is_read:
            self._num_read += 1
            self._is_read.notify()
        if self._num_read == 1:
            threading.Thread(target=self._bring_all, name="read-ahead", daemon=True).start()

    def _bring_all(self) -> None:
        last_use: dict[int, int] = {}
        for number, request in enumerate(self._requests):
            wanted = np.unique(self._shards.index["shard"][request.sample_ids % len(self._shards.index)]).tolist()
            last_use |= dict.fromkeys(wanted, number)
            with self._is_read:
                while not self._has_room(last_use, number):
                    self._is_read.wait()
            try:
                for shard in wanted:
                    self._copies.bring(self._shards.manifest.shards[shard])
            except DataError:
                return

    def _has_room(self, last_use: dict[int, int], number: int) -> bool:
        """Whether request `number` is due, or the shards of all from the one that is being read on fit the budget."""
        if number < self._num_read:
            return True
        for shard in [shard for shard, last in last_use.items() if last < self._num_read - 1]:
            del last_use[shard]
        return sum(self._shards.manifest.shards[shard].bytes for shard in last_use) <= self._budget_bytes
