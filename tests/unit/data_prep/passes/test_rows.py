"""Rows in a file: in blocks, in ranges of a key, and in the order of shards, as if they were held in memory."""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep.passes import rows
from data_prep.passes.recipe import Recipe
from data_prep.passes.rows import Rows, counted_ranges, even_ranges
from data_prep.passes.selection import SAMPLE_DTYPE
from data_prep.passes.shards import sizes_of, tasks_of
from lightning_face.hashing import permutation
from tests.disk import full_disk

NUMBERED = np.dtype([("number", "<u4")])


@contextmanager
def in_a_file(array: NDArray[np.void], at_once: int) -> Iterator[Rows]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "ROWS_AT_ONCE", at_once)
        array.tofile(Path(folder) / "rows")
        yield Rows(Path(folder) / "rows", array.dtype)
        assert [path.name for path in Path(folder).iterdir()] == ["rows"], "files of ranges are left"


def numbered(dtype: np.dtype[np.void], count: int) -> NDArray[np.void]:
    array = np.zeros(count, dtype)
    array["number"] = np.arange(count)
    return array


def as_keys(block: NDArray[np.void], start: int) -> NDArray[np.uint64]:
    return block["number"].astype(np.uint64)


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(1, 6))
def test_blocks(count: int, at_once: int) -> None:
    with in_a_file(numbered(NUMBERED, count), at_once) as file:
        blocks = [block["number"].tolist() for block in file.blocks()]
        assert len(file) == count
    assert blocks == [list(range(start, min(start + at_once, count))) for start in range(0, count, at_once)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**63 - 1, 2**63, 2**64 - 1])), st.integers(1, 6))
def test_ranges_of_hashes(hashes: list[int], at_once: int) -> None:
    lookup = np.array(hashes, np.uint64)
    met = list[int]()
    with in_a_file(numbered(NUMBERED, len(hashes)), at_once) as file:
        lasts = even_ranges(len(hashes))
        for found, keys in file.by_key(lambda block, start: lookup[start : start + len(block)], lasts):
            assert keys.tolist() == lookup[found["number"]].tolist()
            assert found["number"].tolist() == sorted(found["number"].tolist())
            met += found["number"][np.argsort(keys, kind="stable")].tolist()
    assert met == np.argsort(lookup, kind="stable").tolist()
    assert lasts[-1] == 2**64 - 1 and len(lasts) == max(1, -(-len(hashes) // at_once))


def test_more_ranges_than_files_may_be_open() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = len(os.listdir("/proc/self/fd")) + 8
    with in_a_file(numbered(NUMBERED, 100), 1) as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        try:
            found = [ranked["number"].tolist() for ranked, _ in file.by_key(as_keys, list(range(100)))]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == [[number] for number in range(100)]


def test_files_of_a_killed_run_are_replaced() -> None:
    with in_a_file(numbered(NUMBERED, 6), 2) as file:
        left = file.path.with_suffix(".ranges")
        left.mkdir()
        (left / "0").write_bytes(b"half of a row")
        assert [ranked["number"].tolist() for ranked, _ in file.by_key(as_keys, [2, 5])] == [[0, 1, 2], [3, 4, 5]]


def test_nothing_is_left_where_the_disk_is_full() -> None:
    with in_a_file(numbered(NUMBERED, 1000), 1000) as file, full_disk(1000), pytest.raises(OSError):
        list(file.by_key(as_keys, [999]))


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 6))
def test_ranges_of_counted_keys(counts: list[int], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "ROWS_AT_ONCE", at_once)
        lasts = counted_ranges(np.array(counts, np.int64))
    starts = [0, *(last + 1 for last in lasts[:-1])]
    ranges = [counts[start : last + 1] for start, last in zip(starts, lasts, strict=True)]
    assert [count for one in ranges for count in one] == counts
    assert all(sum(one) <= at_once or np.count_nonzero(one) == 1 for one in ranges)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 6), st.booleans())
def test_shards_have_the_order_of_a_permutation(count: int, shard_samples: int, at_once: int, shuffle: bool) -> None:
    recipe = Recipe(seed=3, shard_samples=shard_samples, shuffle=shuffle)
    with in_a_file(numbered(SAMPLE_DTYPE, count), at_once) as file:
        shards = [task.samples["number"].tolist() for task in tasks_of(file, recipe)]
    order = permutation(count, 3, "shards") if shuffle else np.arange(count)
    assert shards == [part.tolist() for part in np.array_split(order, -(-count // shard_samples))]
    assert [len(shard) for shard in shards] == sizes_of(count, recipe) and max(map(len, shards)) <= shard_samples
