"""Checkpoints on disk: one directory each, whole or absent.

    RUN_DIR/checkpoints/
        step-00000100/  dense.ckpt, tables-00000.safetensors ..., identities.txt, checkpoint.json
        last -> step-00000100
        best -> step-00000080

A checkpoint is written under another name and renamed when complete; `checkpoint.json` is its list of contents.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lightning_face import attempts, watchdog
from lightning_face.errors import CheckpointError
from lightning_face.files import flush, sha256_of, write_atomically

DENSE_FILE = "dense.ckpt"
DESCRIPTION_FILE = "checkpoint.json"
VERSION = 1


@dataclass(frozen=True)
class Description:
    """What a checkpoint holds, readable without opening its tensors.

    Args:
        step: optimizer steps of the whole run.
        position: where the order of data stands; see `lightning_face.data.position`.
        tables: shape of each tensor of the class tables, over all ranks.
        options: options of the run that must not change when it goes on, by dotted name.
        files: length and sha256 of each file, by name.
        engine: that saved it.
        num_ranks: that saved it.
    """

    step: int
    position: dict[str, Any]
    tables: dict[str, list[int]]
    options: dict[str, Any]
    files: dict[str, dict[str, int | str]]
    engine: str
    num_ranks: int
    version: int = VERSION


def checkpoints_of(run_dir: Path) -> Path:
    """The folder of a run's checkpoints."""
    return run_dir / "checkpoints"


def list_checkpoints(run_dir: Path, every_n_steps: int = 1) -> list[Path]:
    """A run's checkpoints by rising step, whole or not; those of multiples of so many steps."""
    checkpoints = sorted(checkpoints_of(run_dir).glob("step-*"))
    return [checkpoint for checkpoint in checkpoints if _is_regular(checkpoint, every_n_steps)]


def name_of(step: int) -> str:
    """Directory name of a checkpoint; names sort by step."""
    return f"step-{step:08d}"


def _is_regular(checkpoint: Path, every_n_steps: int) -> bool:
    """Whether it was due by its step."""
    step = checkpoint.name.removeprefix("step-")
    return every_n_steps == 1 or (step.isdigit() and int(step) % every_n_steps == 0)


def seal(path: Path) -> dict[str, int | str]:
    """Flush a written file to the disk; its length and sha256."""
    watchdog.alive()
    flush(path)
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def files_under(folder: Path, name: str) -> list[str]:
    """Paths, relative to a folder, of the file of that name, or of all files in the folder of that name."""
    place = folder / name
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    return [path.relative_to(folder).as_posix() for path in files]


def partial_of(final: Path) -> Path:
    """Where this attempt writes a checkpoint before it is complete: one that was superseded finds its own gone."""
    return final.with_name(f".partial-{attempts.number_of(final.parents[1])}-{final.name}")


def make_partial(final: Path) -> None:
    """Make an empty directory to write a checkpoint in; removes what other attempts left behind.

    Raises:
        SupersededError: the run's folder is another attempt's by now; see `attempts`.
    """
    attempts.check(final.parents[1])
    final.parent.mkdir(parents=True, exist_ok=True)
    for left_over in final.parent.glob(".partial-*"):
        shutil.rmtree(left_over)
    os.mkdir(partial_of(final))


def publish(final: Path, description: Description) -> None:
    """Describe a checkpoint whose files are all sealed, give it its name and make `last` point to it.

    Raises:
        SupersededError: the run's folder is another attempt's by now; see `attempts`.
    """
    attempts.check(final.parents[1])
    partial = partial_of(final)
    write_atomically(partial / DESCRIPTION_FILE, json.dumps(asdict(description), indent=1).encode())
    _replace(final, partial)
    flush(final.parent)
    point(final.parent / "last", final)


def _replace(final: Path, partial: Path) -> None:
    """Give a directory its final name; a former one of that name stays whole until the new one can take its place."""
    former = partial_of(final.with_name(f"former-{final.name}"))
    if final.exists():
        final.rename(former)
    partial.rename(final)
    if former.exists():
        shutil.rmtree(former)


def point(link: Path, target: Path) -> None:
    """Make a symbolic link to a sibling, replacing the former one in one step.

    Raises:
        SupersededError: the run's folder is another attempt's by now; see `attempts`.
    """
    attempts.check(link.parents[1])
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name)
    temporary.replace(link)
    flush(link.parent)


def describe(checkpoint: Path) -> Description:
    """Read the description of a checkpoint.

    Raises:
        CheckpointError: there is none, or it is of another version.
    """
    path = checkpoint / DESCRIPTION_FILE
    if not path.is_file():
        raise CheckpointError(f"{checkpoint} is no complete checkpoint: {DESCRIPTION_FILE} is missing; choose another")
    try:
        fields = json.loads(path.read_text())
        # Before anything else: another version may have other fields.
        version = fields.get("version", VERSION)
        if version != VERSION:
            raise CheckpointError(f"{path} has version {version}, this program reads {VERSION}; choose another")
        description = Description(**fields)
        leaving = [name for name in description.files if not _is_inside(name)]
        if leaving:
            raise ValueError(f"it names {leaving[0]!r}, outside of the checkpoint")
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); choose another checkpoint") from error
    return description


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def prune(folder: Path, keep: int, every_n_steps: int = 1) -> list[str]:
    """Remove all but the newest `keep` checkpoints.

    What `last` and `best` point to stays, and so does the newest at a multiple of `every_n_steps`, which a run may go
    back to. Those after `last` are damaged ones that were passed over: they count as nothing, until the run comes there
    again.

    Returns:
        What could not be removed, with the reason: on network file systems, say, files that another process has open.
    """
    kept = {(folder / link).resolve() for link in ("last", "best")}
    last = (folder / "last").resolve()
    reached = [checkpoint for checkpoint in sorted(folder.glob("step-*")) if checkpoint.name <= last.name]
    regular = [checkpoint for checkpoint in reached if _is_regular(checkpoint, every_n_steps)]
    kept |= {checkpoint.resolve() for checkpoint in regular[-1:]}
    left: list[str] = []
    for checkpoint in reached[:-keep]:
        if checkpoint.resolve() not in kept:
            try:
                # Without its description it counts as incomplete from the first moment of its removal on.
                (checkpoint / DESCRIPTION_FILE).unlink(missing_ok=True)
                shutil.rmtree(checkpoint)
            except OSError as error:
                left.append(f"{checkpoint} ({error.strerror or error})")
    return left
