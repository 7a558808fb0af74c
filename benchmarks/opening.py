"""What a large index costs: the time from opening a dataset to its first batch, and memory over all workers."""

import os
import time
import warnings
from dataclasses import dataclass, replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.passes.publish import publish
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.data.loading import make_loader
from lightning_face.data.sampler import TrainSampler
from lightning_face.data.shards import Shards

ORDERS: dict[str, dict[str, Any]] = {
    "lanes": {},
    "1 image per identity": {"tail_weight": 0.5},
    "4 images per identity": {"images_per_identity": 4},
}
"""Options of the datamodule by what the tables call them."""


@dataclass(frozen=True)
class Opening:
    """What was seen of a dataset when its first batches were read.

    Args:
        order: name of the order of data.
        num_samples: N.
        num_classes: C.
        num_workers: processes that read.
        first_batch_s: from opening it to the first batch, imports not included.
        bytes: held by this process and its workers, pages that several map counted once (proportional set size).
    """

    order: str
    num_samples: int
    num_classes: int
    num_workers: int
    first_batch_s: float
    bytes: int


def make_large(dataset: Path, out: Path, num_samples: int, num_classes: int) -> None:
    """A dataset of as many samples as asked for: shards of a small one under many names, in random order of labels.

    Args:
        dataset: the small one; the number of its samples must divide `num_samples`.
        out: the folder to make, on the same file system.
        num_samples: N.
        num_classes: C; each has N / C samples, rounded up or down.
    """
    small = Shards(dataset)
    shards, rows = small.manifest.shards, np.asarray(small.index)
    copies = num_samples // len(rows)
    assert copies * len(rows) == num_samples, f"{len(rows)} samples do not divide {num_samples}"
    index = np.tile(rows, copies)
    index["shard"] += np.repeat(np.arange(copies, dtype=np.uint32) * len(shards), len(rows))
    index["label"] = np.random.default_rng(0).permutation(num_samples) % num_classes
    out.mkdir(parents=True)
    named = [replace(shard, name=f"{copy:06d}-{shard.name}") for copy in range(copies) for shard in shards]
    for shard in named:
        os.link(dataset / shard.name.partition("-")[2], out / shard.name)
    publish(out, named, [index], [f"person {label:,}" for label in range(num_classes)], shuffled=True)


def open_and_read(dataset: Path, order: str, batch_size: int, num_workers: int) -> Opening:
    """Open a dataset as training does, and read until each worker has sent batches."""
    start = time.perf_counter()
    data = FaceDataModule(str(dataset), global_batch_size=batch_size, **ORDERS[order])
    sampler = TrainSampler(data.order, accumulation=1, rank=0, num_ranks=1, first_epoch=0, first_step=0)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # more workers than cores
        loader = make_loader(
            data.faces, sampler, batch_size, num_workers=num_workers, keep_workers=False, device=torch.device("cpu")
        )
        batches = iter(loader)
    next(batches)
    first_batch_s = time.perf_counter() - start
    for _ in range(2 * num_workers):
        next(batches)
    workers = active_children()
    assert len(workers) == num_workers
    held_bytes = sum(_bytes_of(process) for process in ("self", *(str(worker.pid) for worker in workers)))
    return Opening(order, data.order.num_samples, data.num_classes, num_workers, first_batch_s, held_bytes)


def _bytes_of(process: str) -> int:
    """Proportional set size: a page that n processes map counts 1/n for each."""
    text = Path("/proc", process, "smaps_rollup").read_text()
    return 1024 * int(text.partition("Pss:")[2].split()[0])
