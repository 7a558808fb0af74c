"""Gathered faces are read from files that stay open, as many as the process may have."""

import pickle
import resource
from contextlib import closing
from pathlib import Path

import pytest

from data_prep.passes import spool
from data_prep.passes.spool import FaceReader, faces_path

NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    "limits, most_open, then",
    [
        ((1024, 4096), 4096 - 256, (4096, 4096)),
        ((1024, 1_000_000), 16_384, (16_640, 1_000_000)),
        ((1024, NO_LIMIT), 16_384, (16_640, NO_LIMIT)),
        ((20_000, 20_000), 16_384, None),
        ((NO_LIMIT, NO_LIMIT), 16_384, None),
        ((64, 64), 1, (64, 64)),
    ],
)
def test_as_many_files_as_the_process_may_open(
    limits: tuple[int, int], most_open: int, then: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, wanted: asked.append(wanted))
    assert spool._may_be_open() == most_open
    assert asked == ([] if then is None else [then])


@pytest.mark.parametrize("most_open", [1, 2, 100])
def test_reads_from_more_files_than_it_keeps_open(
    tmp_path: Path, most_open: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_MOST_OPEN", most_open)
    for chunk in range(4):
        faces_path(tmp_path, chunk).write_bytes(bytes(range(10 * chunk, 10 * chunk + 10)))
    with closing(FaceReader(tmp_path)) as reader:
        for chunk, offset in [(0, 1), (3, 0), (1, 9), (3, 4), (2, 0), (0, 2)] * 2:
            assert reader.read(chunk, offset, 1) == bytes([10 * chunk + offset])
        assert 0 < len(reader._descriptors) <= most_open
        with closing(pickle.loads(pickle.dumps(reader))) as other:
            assert not other._descriptors and other.read(1, 3, 2) == bytes([13, 14])
    assert not reader._descriptors
