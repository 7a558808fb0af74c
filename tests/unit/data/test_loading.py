"""Workers that hang before they begin: a fork of a process with threads may find a lock held that nobody lets go of."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_face.data import loading
from lightning_face.data.faces import Faces
from lightning_face.data.loading import make_loader
from lightning_face.data.sampler import GivenSampler
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError

_to_hang: list[None] = []
"""One entry for each of the processes forked next that hangs at once."""

_hangs = False


def _choose() -> None:
    global _hangs
    _hangs = bool(_to_hang)
    del _to_hang[:1]


def _hang() -> None:
    if _hangs:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        signal.pause()


os.register_at_fork(before=_choose, after_in_child=_hang)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    yield _to_hang
    _to_hang.clear()


def loader_of(folder: Path, ids: np.ndarray) -> torch.utils.data.DataLoader:
    faces = Faces(Shards(folder), seed=0, replace_damaged=True)
    return make_loader(faces, GivenSampler(ids, 50), 50, num_workers=2, keep_workers=True, device=torch.device("cpu"))


def test_workers_are_started_again_if_one_hangs(
    tiny_dataset: Path, hanging: list[None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "START_LIMIT_S", 5.0)
    hanging += [None]
    others = set(multiprocessing.active_children())
    ids = np.random.default_rng(0).permutation(np.arange(202))
    loader = loader_of(tiny_dataset, ids)
    for _ in range(2):  # the second time by the workers that were kept
        assert torch.cat([batch.sample_ids_B for batch in loader]).tolist() == ids.tolist()
    assert not hanging and len(set(multiprocessing.active_children()) - others) == 2
    assert "a data worker has not begun within 5 s; all are started again" in caplog.messages


def test_workers_that_hang_again_and_again_end_the_run(
    tiny_dataset: Path, hanging: list[None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "START_LIMIT_S", 0.1)
    hanging += 100 * [None]
    others = set(multiprocessing.active_children())
    with pytest.raises(DataError, match=r"have not begun within 0 s, 3 times; start the run again, or set data.num_w"):
        iter(loader_of(tiny_dataset, np.arange(202)))
    assert len(hanging) == 94 and set(multiprocessing.active_children()) <= others
    assert sum("all are started again" in message for message in caplog.messages) == 2
