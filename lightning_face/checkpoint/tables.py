"""Class tables on disk.

Every rank that holds rows of its own writes them to files of its own; rank 0 also writes what is the same everywhere.
The files say where their rows belong, so that any number of ranks can load what any other number has saved.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor

from lightning_face import watchdog
from lightning_face.checkpoint.tensor_file import TensorFile, write_tensors
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
        watchdog.alive()
        write_tensors(folder / file, pieces, {_FIRST_ROWS: first_rows})
    return files


def differences(saved: dict[str, list[int]], own: dict[str, list[int]]) -> list[str]:
    """Names whose shapes are not the same on both sides, as messages say them."""
    return [
        f"{name}: {saved.get(name, 'absent')} -> {own.get(name, 'absent')}"
        for name in sorted(set(saved) | set(own))
        if saved.get(name) != own.get(name)
    ]


def check_shapes(saved: dict[str, list[int]], own: dict[str, list[int]], where: str) -> None:
    """Raise CheckpointError unless a checkpoint holds these tables, naming each difference."""
    if wrong := differences(saved, own):
        raise CheckpointError(
            f"{where} holds other class tables than this run: {'; '.join(wrong)};"
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
        CheckpointError: some rows are in none of the files, or a file cannot be read.
    """
    copied: dict[str, list[range]] = {name: [] for name in tables}
    for path in [checkpoint / name for name in sorted(files) if fnmatchcase(name, _ALL_FILES)]:
        watchdog.alive()
        file = TensorFile(path)
        for name in sorted(set(file.shapes) & set(tables)):
            first = held[name].start if name in held else 0
            copied[name].append(_copy(file, name, file.facts[_FIRST_ROWS][name] - first, tables[name]))
    lost = {name: _num_missing(rows, tables[name].shape[:1].numel()) for name, rows in copied.items()}
    if any(lost.values()):
        named = {name: count for name, count in lost.items() if count}
        raise CheckpointError(f"{checkpoint} lacks rows of class tables: {named}; choose another checkpoint")


def _num_missing(found: list[range], num_rows: int) -> int:
    """How many of some rows are in none of the ranges, which may overlap."""
    missing = reached = 0
    for rows in sorted(found, key=lambda rows: rows.start):
        missing += max(0, rows.start - reached)
        reached = max(reached, rows.stop)
    return missing + num_rows - reached


def _copy(file: TensorFile, name: str, place: int, tensor: Tensor) -> range:
    """Copy what a file has of a tensor's rows, the first of which belongs at `place`; which rows of it they are."""
    if tensor.ndim == 0:
        tensor.copy_(file.tensor(name))
        return range(1)
    rows = range(max(place, 0), min(place + file.shapes[name][0], len(tensor)))
    if not rows:
        return range(0)
    tensor[rows.start : rows.stop] = file.rows(name, rows.start - place, rows.stop - place).to(tensor.device)
    return rows
