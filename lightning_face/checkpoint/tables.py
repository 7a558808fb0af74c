"""Class tables on disk, as safetensors: nothing is unpickled. The only door to that library.

Every rank that holds rows of its own writes them to files of its own; rank 0 also writes what is the same everywhere.
The files say where their rows belong, so that any number of ranks can load what any other number has saved.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightning_face.errors import CheckpointError

_ALL_FILES = "tables-*.safetensors"
_FIRST_ROWS = "first_rows"

PART_BYTES = 2**30
"""Of a file with tables: what of a device's table passes through the host at once."""


def tables_file(rank: int, part: int = 0) -> str:
    """Name of a file with rows of a rank."""
    return f"tables-{rank:05d}.safetensors" if part == 0 else f"tables-{rank:05d}-{part}.safetensors"


def save_tables(folder: Path, rank: int, tables: dict[str, Tensor], held: dict[str, range]) -> list[str]:
    """Write tensors by name, in files of PART_BYTES; each has the same share of the rows of all.

    Args:
        folder: of the checkpoint.
        rank: names the files.
        tables: rows, or numbers without rows.
        held: which rows of the whole table they are; all of it, for a name that is not here.

    Returns:
        The names of the files.

    Raises:
        OSError: a file cannot be written.
    """
    num_parts = max(1, -(-sum(tensor.nbytes for tensor in tables.values()) // PART_BYTES))
    files = [tables_file(rank, part) for part in range(num_parts)]
    for part, file in enumerate(files):
        pieces: dict[str, Tensor] = {}
        first_rows: dict[str, int] = {}
        for name, tensor in tables.items():
            if tensor.ndim:
                start, stop = (len(tensor) * number // num_parts for number in (part, part + 1))
                pieces[name] = tensor[start:stop]
                first_rows[name] = start + (held[name].start if name in held else 0)
            elif part == 0:
                pieces[name], first_rows[name] = tensor, 0
        _write(folder / file, pieces, first_rows)
    return files


def _write(path: Path, tables: dict[str, Tensor], first_rows: dict[str, int]) -> None:
    # One entry: the library writes several in any order, and equal tables would make files that differ.
    metadata = {_FIRST_ROWS: json.dumps(first_rows)}
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tables.items()}, path, metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error  # the library's word for one: everything else is checked here


def check_shapes(saved: dict[str, list[int]], own: dict[str, list[int]], where: str) -> None:
    """Raise CheckpointError unless a checkpoint holds these tables, naming each difference."""
    names = sorted(set(saved) | set(own))
    differences = [
        f"{name}: {saved.get(name, 'absent')} -> {own.get(name, 'absent')}"
        for name in names
        if saved.get(name) != own.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"{where} holds other class tables than this run: {'; '.join(differences)};"
            " use the same data and objective, or another --run_dir"
        )


@torch.no_grad()
def load_tables(checkpoint: Path, files: Iterable[str], tables: dict[str, Tensor], held: dict[str, range]) -> None:
    """Copy saved rows into the tensors of a run, whichever ranks saved them.

    Args:
        checkpoint: its directory.
        files: of all ranks, by name; those that hold no tables are passed over.
        tables: to be written; their shapes have been checked.
        held: see `save_tables`.

    Raises:
        CheckpointError: some rows are in none of the files, or a file is damaged.
        OSError: a file cannot be read.
    """
    copied: dict[str, list[range]] = {name: [] for name in tables}
    for path in [checkpoint / name for name in sorted(files) if fnmatchcase(name, _ALL_FILES)]:
        with _opened(path) as file:
            first_rows = json.loads(file.metadata()[_FIRST_ROWS])
            for name in sorted(set(file.keys()) & set(tables)):
                first = held[name].start if name in held else 0
                copied[name].append(_copy(file, name, first_rows[name] - first, tables[name]))
    lost = {name: _num_missing(rows, tables[name].shape[:1].numel()) for name, rows in copied.items()}
    if any(lost.values()):
        named = {name: count for name, count in lost.items() if count}
        raise CheckpointError(f"{checkpoint} lacks rows of class tables: {named}; choose another checkpoint")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}); choose another checkpoint") from error


def _num_missing(found: list[range], num_rows: int) -> int:
    """How many of some rows are in none of the ranges, which may overlap."""
    missing = reached = 0
    for rows in sorted(found, key=lambda rows: rows.start):
        missing += max(0, rows.start - reached)
        reached = max(reached, rows.stop)
    return missing + num_rows - reached


def _copy(file: Any, name: str, place: int, tensor: Tensor) -> range:
    """Copy what a file has of a tensor's rows, the first of which belongs at `place`; which rows of it they are."""
    if tensor.ndim == 0:
        tensor.copy_(file.get_tensor(name))
        return range(1)
    saved = file.get_slice(name)
    rows = range(max(place, 0), min(place + saved.get_shape()[0], len(tensor)))
    if not rows:
        return range(0)
    tensor[rows.start : rows.stop] = saved[rows.start - place : rows.stop - place].to(tensor.device)
    return rows
