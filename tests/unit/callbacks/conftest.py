"""Evaluation as a callback sees it: batches in any order, features that know the identity."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_face.data.faces import BatchRequest, FaceBatch, Faces
from lightning_face.data.sampler import SequentialSampler
from lightning_face.data.shards import Shards

Batches = list[tuple[FaceBatch, Tensor]]


@pytest.fixture(scope="session")
def faces(tiny_dataset: Path) -> Faces:
    return Faces(Shards(tiny_dataset), seed=0, replace_damaged=False)


@pytest.fixture(scope="session")
def batches(faces: Faces) -> Batches:
    """Batches of three ranks, the last of which repeats samples, and perfect features (B, 2, 20)."""
    requests: list[BatchRequest] = []
    for rank in (2, 0, 1):
        requests += SequentialSampler(faces, batch_size=50, rank=rank, num_ranks=3)
    return [(batch, features_of(batch.labels_B)) for batch in map(faces.__getitem__, requests)]


def features_of(labels_B: Tensor) -> Tensor:
    features = torch.nn.functional.one_hot(labels_B, 20).float()
    return torch.stack([3.0 * features, 2.0 * features], dim=1)


@pytest.fixture
def trainer(tmp_path: Path, faces: Faces) -> Callable[..., Any]:
    """A trainer as far as callbacks look at it."""

    def make(**changes: Any) -> Any:
        defaults: dict[str, Any] = {
            "run_dir": tmp_path,
            "is_global_zero": True,
            "global_step": 12,
            "loggers": [],
            "strategy": SimpleNamespace(broadcast=lambda value: value),
            "ckpt_path": None,
            "state": SimpleNamespace(fn="fit"),
            "datamodule": SimpleNamespace(predict=faces, verification={"tiny": faces}),
        }
        return SimpleNamespace(**{**defaults, **changes})

    return make


@pytest.fixture
def module() -> Any:
    """A module that remembers what is logged."""
    logged: dict[str, float] = {}
    return SimpleNamespace(
        backbone=SimpleNamespace(embedding_dim=20),
        logged=logged,
        log_dict=lambda values, **options: logged.update(values),
        log=lambda name, value, **options: logged.update({name: value}),
    )
