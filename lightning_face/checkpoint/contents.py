"""What a checkpoint is made of, and how ranks write it together."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_face.checkpoint.directory import (
    DENSE_FILE,
    Description,
    files_under,
    partial_of,
    publish,
    seal,
)
from lightning_face.checkpoint.failures import writing
from lightning_face.checkpoint.tables import save_tables
from lightning_face.data.manifest import IDENTITIES_FILE
from lightning_face.distributed.agreement import gather_objects, on_every_rank, on_rank_zero
from lightning_face.distributed.world import rank
from lightning_face.errors import SupersededError


@dataclass(frozen=True)
class Contents:
    """What this rank writes of a checkpoint.

    Args:
        dense: weights, optimizer and counters, for `dense.ckpt`; on rank 0 alone, and None if the engine has written
            that file.
        tables: by name, the rows that this rank holds; on rank 0 also what is the same everywhere.
        held: which rows of the whole tables they are, see `save_tables`.
        identities_file: names of all classes.
        description: of the checkpoint, but for its files.
    """

    dense: dict[str, Any] | None
    tables: dict[str, Tensor]
    held: dict[str, range]
    identities_file: Path
    description: Description


@contextmanager
def leaving_nothing(final: Path) -> Iterator[None]:
    """Remove what is written of a checkpoint where that fails: a disk that is full should not stay so."""
    try:
        yield
    except Exception as error:
        if rank() == 0 and not isinstance(error, SupersededError):  # what is there belongs to another attempt
            shutil.rmtree(partial_of(final), ignore_errors=True)
        raise


def write_checkpoint(final: Path, contents: Contents, published: Callable[[], object], group: Any = None) -> None:
    """Write a checkpoint into its partial directory and publish it; every rank calls.

    Args:
        final: its directory.
        contents: of this rank; must not change meanwhile.
        published: called on rank 0 once the checkpoint has its name.
        group: see `gather_objects`.

    Raises:
        CheckpointError: on every rank, if one cannot write; the checkpoint before stays as it is.
    """
    with leaving_nothing(final):
        own_files = on_every_rank(writing(final)(partial(_write_own_files, partial_of(final), contents)), group)
        files = {name: file for of_rank in gather_objects(own_files, group) for name, file in of_rank.items()}
        publish_all = partial(publish, final, replace(contents.description, files=files))
        on_rank_zero(writing(final)(lambda: (publish_all(), published())), group)


def _write_own_files(folder: Path, contents: Contents) -> dict[str, dict[str, int | str]]:
    """Write this rank's rows, and on rank 0 all else; describe all files that this rank answers for."""
    names = save_tables(folder, rank(), contents.tables, contents.held) if contents.tables else []
    if rank() == 0:
        if contents.dense is not None:
            write_dense(contents.dense, folder / DENSE_FILE)
        # One file, or DeepSpeed's folder of files from all ranks, which are written by now.
        names += files_under(folder, DENSE_FILE)
        # Whose rows they are: the dataset may be gone when they are exported.
        shutil.copyfile(contents.identities_file, folder / IDENTITIES_FILE)
        names.append(IDENTITIES_FILE)
    return {name: seal(folder / name) for name in names}


def write_dense(dense: dict[str, Any], path: Path) -> None:
    """Write weights, optimizer and counters.

    Raises:
        OSError: the disk is full, say. Given a name, torch would not tell why it failed; given a file it does, but only
            behind an error of its own: the end of its archive does not follow what was written.
    """
    with path.open("wb") as file:
        try:
            torch.save(dense, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
