"""Shards that are brought before they are asked for."""

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lightning_face.data.ahead import ReadAhead
from lightning_face.data.cache import CacheConfig
from lightning_face.data.faces import BatchRequest
from lightning_face.data.fetch import FetchConfig
from lightning_face.data.places import open_dataset
from lightning_face.data.shards import Shards

OF_EACH = [np.array([0]), np.array([1, 60]), np.array([80]), np.array([160, 161 + 202])]
"""Requests for the three shards of the tiny dataset: the first twice, then each of the others."""


class Followed:
    """A `ReadAhead` whose requests say which of them it has come to."""

    def __init__(self, shards: Shards, budget_bytes: int) -> None:
        self.num_looked_at = 0
        self.is_waiting = threading.Condition()
        assert shards.copies is not None
        self.ahead = ReadAhead(shards, shards.copies, self._requests(), budget_bytes)

    def _requests(self) -> Iterator[BatchRequest]:
        for number, ids in enumerate(OF_EACH):
            with self.is_waiting:
                self.num_looked_at += 1
                self.is_waiting.notify()
            yield BatchRequest(0, number, ids)

    def wait_until_it_looks_at(self, number: int) -> None:
        with self.is_waiting:
            assert self.is_waiting.wait_for(lambda: self.num_looked_at >= number, timeout=30)


@pytest.fixture
def shards(tiny_dataset: Path, tmp_path: Path) -> Shards:
    config = CacheConfig(str(tmp_path / "cache"), 1.0, FetchConfig(pause_s=0.0, attempts=1))
    return open_dataset(str(tiny_dataset), config)


def copies_in(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache" / "shards").iterdir() if not path.suffix}


def names(shards: Shards, count: int) -> set[str]:
    return {shard.sha256 for shard in islice(shards.manifest.shards, count)}


def wait_for_the_end() -> None:
    for thread in threading.enumerate():
        if thread.name == "read-ahead":
            thread.join(30)
            assert not thread.is_alive()


def test_brings_everything_that_fits(shards: Shards, tmp_path: Path) -> None:
    followed = Followed(shards, budget_bytes=10**9)
    followed.ahead.read()
    wait_for_the_end()
    assert copies_in(tmp_path) == names(shards, 3)


def test_stays_within_its_budget(shards: Shards, tmp_path: Path) -> None:
    followed = Followed(shards, budget_bytes=max(shard.bytes for shard in shards.manifest.shards))
    followed.ahead.read()
    followed.wait_until_it_looks_at(3)  # whose shard is one too many while the first is still to be read
    assert copies_in(tmp_path) == names(shards, 1)
    followed.ahead.read()
    followed.ahead.read()
    followed.wait_until_it_looks_at(4)
    assert copies_in(tmp_path) == names(shards, 2)
    followed.ahead.read()
    wait_for_the_end()
    assert copies_in(tmp_path) == names(shards, 3)


def test_what_cannot_be_brought_is_left_to_the_workers(shards: Shards, tiny_dataset: Path, tmp_path: Path) -> None:
    broken = open_dataset(str(tiny_dataset), CacheConfig(str(tmp_path / "cache"), 1.0, FetchConfig(attempts=1)))
    (tmp_path / "cache" / "shards").write_text("no folder")
    followed = Followed(broken, 10**9)
    followed.ahead.read()
    wait_for_the_end()
    assert followed.num_looked_at == 1  # it gave up
