"""What is known of one finished shard, kept until the dataset is complete."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_face.data.manifest import INDEX_DTYPE, Shard
from lightning_face.files import write_atomically


@dataclass(frozen=True)
class Sidecar:
    """What is known of a finished shard.

    Args:
        selection_sha256: of the selection that it belongs to.
        shard: its line in the manifest.
        rows: its rows of the index, INDEX_DTYPE, in the order of the tar.
    """

    selection_sha256: str
    shard: Shard
    rows: NDArray[np.void]

    def write(self, path: Path) -> None:
        """Write it atomically."""
        fields = {
            "selection_sha256": self.selection_sha256,
            "shard": vars(self.shard),
            "rows": base64.b64encode(self.rows.tobytes()).decode(),
        }
        write_atomically(path, json.dumps(fields).encode())

    @staticmethod
    def read(path: Path) -> "Sidecar":
        """Read it back.

        Raises:
            OSError: it is missing.
            ValueError, KeyError, TypeError: it is no sidecar.
        """
        fields = json.loads(path.read_text())
        rows = np.frombuffer(base64.b64decode(fields["rows"]), dtype=INDEX_DTYPE)
        return Sidecar(str(fields["selection_sha256"]), Shard(**fields["shard"]), rows)


def sidecar_path(work: Path, number: int) -> Path:
    """Where the sidecar of a shard lies, in the folder of unfinished work."""
    return work / f"shard-{number:06d}.json"
