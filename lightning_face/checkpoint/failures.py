"""What a file system refuses while a checkpoint is written or read, as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_face.errors import CheckpointError


@contextmanager
def writing(checkpoint: Path) -> Iterator[None]:
    """Name the checkpoint that could not be written.

    Raises:
        CheckpointError: for an OSError: a full disk, a quota, missing rights.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{checkpoint} could not be written ({_reason(error)}); free space or mend its rights, or choose another"
            " --run_dir; the checkpoint before is good"
        ) from error


@contextmanager
def reading(checkpoint: Path) -> Iterator[None]:
    """Name the checkpoint that could not be read.

    Raises:
        CheckpointError: for an OSError.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{checkpoint} could not be read ({_reason(error)}); mend its rights, or choose another checkpoint"
        ) from error


def _reason(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{what}: {error.filename}" if error.filename else what
