"""Class tables on disk, as safetensors: nothing is unpickled. The only door to that library."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightning_face.errors import CheckpointError


def shapes_of(tables: dict[str, Tensor]) -> dict[str, list[int]]:
    """Shape of each tensor by name."""
    return {name: list(tensor.shape) for name, tensor in tables.items()}


def save_tables(path: Path, tables: dict[str, Tensor]) -> None:
    """Write tensors by name."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tables.items()}, path)


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
def load_tables(path: Path, tables: dict[str, Tensor]) -> None:
    """Copy saved values into the tensors of a run.

    Raises:
        CheckpointError: a name or shape differs.
    """
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        check_shapes({name: file.get_slice(name).get_shape() for name in names}, shapes_of(tables), str(path))
        for name, tensor in tables.items():
            tensor.copy_(file.get_tensor(name))
