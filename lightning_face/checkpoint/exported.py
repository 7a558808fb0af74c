"""A trained network in one file, with its class tables on request: what `export` writes and `init_from` reads."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_face.checkpoint.tables import differences
from lightning_face.checkpoint.tensor_file import TensorFile, write_tensors
from lightning_face.data.manifest import names_in
from lightning_face.errors import CheckpointError
from lightning_face.files import move_into_place
from lightning_face.models import build_backbone
from lightning_face.models.backbone import Backbone

VERSION = 1

CENTERS, MOVED_AT, CLASSIFIER = "centers", "centers.moved_at", "classifier"
"""Tensors of the class tables that may be exported, by the names that checkpoints have for them too."""

BACKBONE, AVERAGED = "backbone.", "averaged."
"""Beginnings of the names of the tensors of a network, and in checkpoints of its average, where one is kept."""

_IDENTITIES = "identities"
_ROWS_AT_ONCE = 2**16


@dataclass(frozen=True)
class Origin:
    """Where weights come from.

    Args:
        backbone: arguments of `build_backbone`.
        num_classes: identities that they were trained on.
        manifest_hash: digest of the manifest of that dataset.
        step: optimizer steps of the run.
    """

    backbone: dict[str, Any]
    num_classes: int
    manifest_hash: str
    step: int
    version: int = VERSION


def write_exported(path: Path, tensors: dict[str, Tensor], identities: str, origin: Origin) -> None:
    """Write a file as `Exported` reads it; it is whole or absent.

    Args:
        path: the file to write or replace; its folder exists.
        tensors: of the network, named `backbone.*`, and of the tables.
        identities: name of each class, a line each.
        origin: of the tensors.

    Raises:
        OSError: it cannot be written.
    """
    names = torch.from_numpy(np.frombuffer(identities.encode(), dtype=np.uint8).copy())
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write_tensors(temporary, {**tensors, _IDENTITIES: names}, asdict(origin))
        move_into_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class Exported:
    """A file that `export` wrote.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is missing, damaged, of another kind or version, or its tables and its identities differ in
            number.
    """

    def __init__(self, path: Path) -> None:
        self._file = TensorFile(path)
        self.path = path
        version = self._file.facts.get("version")
        if version != VERSION:
            raise CheckpointError(f"{path} has version {version}, this program reads {VERSION}; export it again")
        try:
            self.origin = Origin(**self._file.facts)
        except TypeError as error:
            raise CheckpointError(f"{path} was not written by `export` ({error}); give a file that was") from error
        for name in self.tables:
            if self._file.shapes[name][0] != self.origin.num_classes:
                rows = f"{self._file.shapes[name][0]:,} rows for {self.origin.num_classes:,} classes"
                raise CheckpointError(f"{path} is damaged: {name} has {rows}; export it again")

    @property
    def tables(self) -> dict[str, list[int]]:
        """Shapes of the tables that are in the file, by name."""
        shapes = self._file.shapes
        return {name: shapes[name] for name in (CENTERS, MOVED_AT, CLASSIFIER) if name in shapes}

    def identities(self) -> list[str]:
        """Name of each class.

        Raises:
            CheckpointError: there are more or fewer than classes.
        """
        names = names_in(self._file.tensor(_IDENTITIES).numpy().tobytes().decode())
        if len(names) != self.origin.num_classes:
            raise CheckpointError(
                f"{self.path} is damaged: {len(names):,} names for {self.origin.num_classes:,} classes; export it again"
            )
        return names

    def load_into(self, backbone: Backbone) -> None:
        """Copy the network's weights into a network of the same kind, name by name.

        Raises:
            CheckpointError: names or shapes differ.
        """
        weights = {name: shape for name, shape in self._file.shapes.items() if name.startswith(BACKBONE)}
        own = {f"{BACKBONE}{name}": list(tensor.shape) for name, tensor in backbone.state_dict().items()}
        if wrong := differences(weights, own):
            few = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
            raise CheckpointError(
                f"{self.path} holds another network ({self.origin.backbone}): {few}; use the same model.backbone,"
                " data.image_size and data.channels"
            )
        backbone.load_state_dict({name.removeprefix(BACKBONE): self._file.tensor(name) for name in weights})

    def blocks(self, name: str) -> Iterator[tuple[int, Tensor]]:
        """A table in parts: the first class of each, and its rows."""
        for start in range(0, self.origin.num_classes, _ROWS_AT_ONCE):
            yield start, self._file.rows(name, start, min(start + _ROWS_AT_ONCE, self.origin.num_classes))


def load_backbone(path: str | Path) -> Backbone:
    """The exported network, ready to embed: on the CPU, in evaluation mode.

    Its input is (B, in_channels, image_size, image_size) float in [-1, 1], see `lightning_face.data.augment.normalise`.

    Raises:
        CheckpointError: the file is none that `export` wrote.
    """
    exported = Exported(Path(path))
    backbone = build_backbone(**exported.origin.backbone)
    exported.load_into(backbone)
    return backbone.eval()
