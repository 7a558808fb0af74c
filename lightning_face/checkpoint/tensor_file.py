"""Named tensors in a file, with facts about them: safetensors, which runs nothing. The only door to that library."""

import errno
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightning_face.errors import CheckpointError

# One entry: the library writes several in any order, and equal contents would make files that differ.
_ENTRY = "lightning_face"


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a new file; equal contents make equal files.

    Args:
        path: a new file.
        tensors: by name, on any device.
        facts: what JSON can hold.

    Raises:
        OSError: it cannot be written.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(held, path, {_ENTRY: json.dumps(facts)})
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error), str(path)) from error


class TensorFile:
    """A file that `write_tensors` wrote, mapped into memory: what is not asked for is not read.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is missing, damaged, or not ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = safe_open(path, framework="pt")
            self.facts: dict[str, Any] = json.loads((self._file.metadata() or {})[_ENTRY])
        except FileNotFoundError as error:
            raise CheckpointError(f"{path} is missing; give a file that exists") from error
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged or no file of ours ({error}); give another") from error
        self.shapes: dict[str, list[int]] = {
            name: list(self._file.get_slice(name).get_shape()) for name in sorted(self._file.keys())
        }

    def tensor(self, name: str) -> Tensor:
        """A whole tensor."""
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Some rows of a tensor."""
        rows: Tensor = self._file.get_slice(name)[start:stop]
        return rows
