"""Whether the shards can be read, and are those of their manifest."""

import os
import time
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_face.data.shards import Shards
from lightning_face.distributed.agreement import gather_objects, on_every_rank
from lightning_face.distributed.world import rank, world_size
from lightning_face.doctor.finding import Finding
from lightning_face.errors import DataError
from lightning_face.files import sha256_of

MOST_SHARDS_OF_A_RANK, MOST_SECONDS = 8, 20.0


class _Read(NamedTuple):
    shards: int
    bytes: int
    seconds: float


def check_shards(shards: Shards) -> Finding:
    """Read some shards to their end, other ones on each rank, and compare their sums; every rank calls.

    What costs no reading, lengths and labels of all, has been checked when the dataset was opened.

    Raises:
        DataError: on every rank, if a shard cannot be read or is another one.
    """
    everywhere = gather_objects(on_every_rank(lambda: _read_some(shards)))
    num_shards = sum(read.shards for read in everywhere)
    speed = sum(read.bytes for read in everywhere) / max(read.seconds for read in everywhere) / 1e6
    manifest = shards.manifest
    return Finding(
        "ok",
        f"{shards.source}: {manifest.num_samples:,} images, labels of all in [0, {manifest.num_classes:,}); sums of"
        f" {num_shards} of {len(manifest.shards)} shards are right, read at {speed:,.0f} MB/s",
    )


def _read_some(shards: Shards) -> _Read:
    started, num_bytes = time.monotonic(), 0
    all_shards = shards.manifest.shards
    # Far from one another, and each on one rank.
    order = torch.randperm(len(all_shards), generator=torch.Generator().manual_seed(0)).tolist()
    own = order[rank() :: world_size()][: MOST_SHARDS_OF_A_RANK if shards.copies is None else 1]
    done = 0
    for shard in (all_shards[number] for number in own):
        if shards.copies is not None:
            os.close(shards.copies.open(shard))  # it is copied, and its sum compared
        else:
            _compare(shards, shard.name, shard.sha256)
        done, num_bytes = done + 1, num_bytes + shard.bytes
        if time.monotonic() - started > MOST_SECONDS:
            break
    return _Read(done, num_bytes, max(time.monotonic() - started, 1e-9))


def _compare(shards: Shards, name: str, sha256: str) -> None:
    path = shards.folder / name
    try:
        found = sha256_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); mend its rights or its disk") from error
    if found != sha256:
        raise DataError(f"{path} has another sha256 than its manifest says: it is damaged; restore it")


def check_people(class_counts_C: Tensor) -> Finding:
    """How many images the identities have; a class without any only pushes others away."""
    empty, single = int((class_counts_C == 0).sum()), int((class_counts_C == 1).sum())
    median = float(class_counts_C.double().median())
    figure = f"{len(class_counts_C):,} identities, median of {median:g} images, {single:,} with a single one"
    if empty:
        return Finding(
            "warning", f"{figure}, {empty:,} with none", "prepare the data again, with --min-images 1 or more"
        )
    return Finding("ok", figure)
