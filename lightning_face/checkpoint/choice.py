"""Which checkpoint a run goes on from.

Before ranks meet, each looks at lengths alone. Once they have met, rank 0 reads all of it, may pass over a damaged one,
and tells the others: as many ranks as there may be read a checkpoint twice, once to check it and once to load it.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from lightning_face import watchdog
from lightning_face.checkpoint.directory import (
    DESCRIPTION_FILE,
    Description,
    checkpoints_of,
    describe,
    list_checkpoints,
)
from lightning_face.checkpoint.failures import reading
from lightning_face.distributed.agreement import check_same_on_all_ranks, gather_objects, on_every_rank
from lightning_face.distributed.world import rank
from lightning_face.errors import CheckpointError
from lightning_face.files import sha256_of

_log = logging.getLogger(__name__)


def check_intact(checkpoint: Path, *, every_byte: bool = True) -> Description:
    """Compare every file with the description.

    Args:
        checkpoint: its directory.
        every_byte: read the files; else only their lengths are compared.

    Raises:
        CheckpointError: names the first file that is missing or differs, or says that one cannot be read.
    """
    with reading(checkpoint):
        description = describe(checkpoint)
        for name, expected in description.files.items():
            path = checkpoint / name
            watchdog.alive()
            if not path.is_file():
                raise CheckpointError(f"{checkpoint} is damaged: {name} is missing; choose another checkpoint")
            as_written = path.stat().st_size == expected["bytes"]
            if not as_written or (every_byte and sha256_of(path) != expected["sha256"]):
                raise CheckpointError(
                    f"{checkpoint} is damaged: {name} is not what was written; choose another checkpoint"
                )
    return description


def best_intact(run_dir: Path, *, every_byte: bool = True) -> Path | None:
    """What `best` points to if it is whole, else the last one that is; see `last_intact`."""
    best = (checkpoints_of(run_dir) / "best").resolve()
    if best.exists():
        try:
            check_intact(best, every_byte=every_byte)
        except CheckpointError as error:
            _log.warning("%s; taking the last one", error)
        else:
            return best
    return last_intact(run_dir, every_byte=every_byte)


def last_intact(run_dir: Path, *, every_byte: bool = True, every_n_steps: int = 1) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are passed over with a warning. None if there are none.

    Args:
        run_dir: of the run.
        every_byte: see `check_intact`.
        every_n_steps: only those of multiples of so many steps count.

    Raises:
        CheckpointError: there are some, and none is whole: starting anew would overwrite the run.
    """
    checkpoints = list_checkpoints(run_dir, every_n_steps)
    for checkpoint in reversed(checkpoints):
        try:
            check_intact(checkpoint, every_byte=every_byte)
        except CheckpointError as error:
            _log.warning("%s; trying the one before it", error)
            continue
        return checkpoint
    if checkpoints:
        raise CheckpointError(
            f"none of the {len(checkpoints)} checkpoints in {checkpoints_of(run_dir)} is whole; restore one, or remove"
            " them to start anew"
        )
    return None


def choice_of_rank_zero(choose: Callable[[], Path | None], run_dir: Path) -> Path | None:
    """The checkpoint that rank 0 goes on from, and so do all; every rank calls.

    Args:
        choose: called on rank 0.
        run_dir: of the run.

    Raises:
        FaceError: on every rank, if `choose` raises one.
        ConfigError: on every rank, if ranks see other files: the run would be another one on every node, unseen.
    """
    chosen: Path | None = gather_objects(on_every_rank(lambda: choose() if rank() == 0 else None))[0]
    check_same_on_all_ranks(on_every_rank(reading(run_dir)(lambda: _facts(chosen, run_dir))))
    return chosen


def _facts(chosen: Path | None, run_dir: Path) -> dict[str, str]:
    newest = next((checkpoint.name for checkpoint in reversed(list_checkpoints(run_dir))), "none")
    described = "none" if chosen is None else f"{chosen} ({_digest(chosen / DESCRIPTION_FILE)})"
    return {"newest checkpoint": newest, "checkpoint to load": described}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "absent"
