"""Second pass: the gathered images are selected from and written to shards; then the spool is removed."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.passes.near_duplicates import NEAR_DUPLICATES_FILE, write_near_duplicates
from data_prep.passes.parts import all_parts, alone, items_of, num_parts
from data_prep.passes.publish import publish, summary
from data_prep.passes.recipe import Recipe
from data_prep.passes.record import WORK_FOLDER, Record, clear_work
from data_prep.passes.rejects import REJECTED_FILE, write_rejected
from data_prep.passes.selection import Selection, select
from data_prep.passes.shards import ShardWriter, sha256_of, sizes_of, tasks_of
from data_prep.passes.sidecar import Sidecar, sidecar_path
from data_prep.passes.spool import FaceReader
from data_prep.pool import run_tasks
from data_prep.progress import progress, say
from lightning_face.data.manifest import MANIFEST_FILE, Manifest, Shard
from lightning_face.errors import DataError

_MOST_SHOWN = 5  # names that --exclude has in vain: a list of a test set has mostly such


def merge(out: Path, max_rejected: float, workers: int) -> Manifest:
    """Select from the gathered images and write them to shards: the second pass.

    Args:
        out: folder of the dataset, begun by another command.
        max_rejected: share of unusable images above which the whole is an error, in [0, 1].
        workers: processes.

    Raises:
        ConfigError: nothing was begun in `out`, or something goes on there.
        DataError: a part is not gathered, `out` cannot be written, or too few images can be used.
    """
    recipe, work = Record.read(out).recipe, out / WORK_FOLDER
    if os.path.exists(out / MANIFEST_FILE):
        return already_finished(out)
    parts = all_parts(num_parts(work))
    if not parts:
        raise DataError(f"{out}: nothing was gathered there yet; give the command that makes it")
    with in_one_line(out), alone(work / "merge.lock", out):
        num_items = items_of(work, parts)
        selection = select(work, num_items, recipe)
        left_out = _tell_left_out(out, work, num_items, selection, recipe, max_rejected)
        shards, index = _write_shards(out, work, selection, recipe, workers)
        if recipe.near_duplicates is not None:
            num_pairs = write_near_duplicates(out, work, selection, recipe.near_duplicates)
            say(f"pairs of images that look almost the same, all kept: {num_pairs:,}, in {out / NEAR_DUPLICATES_FILE}")
        # Matplotlib takes a moment to load.
        from data_prep.passes.report import write_report

        write_report(out, work, num_items, selection, left_out)
        manifest = publish(out, shards, index, selection.identities, recipe.shuffle)
    clear_work(out)
    say(summary(out, manifest))
    return manifest


def _tell_left_out(
    out: Path, work: Path, num_items: int, selection: Selection, recipe: Recipe, max_rejected: float
) -> Counter[str]:
    """How many images are left out for which kind of reason."""
    kinds = write_rejected(out, work, num_items, selection.left_out, recipe)
    rejected, path = kinds.total() - len(selection.left_out), out / REJECTED_FILE
    if not len(selection.samples):
        raise DataError(f"none of the {num_items:,} images is left; the reasons are in {path}")
    if rejected > max_rejected * num_items:
        raise DataError(
            f"{rejected:,} of {num_items:,} images cannot be used, more than --max-rejected {max_rejected:g};"
            f" the reasons are in {path}; mend the source and remove {out}, or allow more"
        )
    if selection.not_met:
        more = ", ..." if len(selection.not_met) > _MOST_SHOWN else ""
        say(
            f"--exclude names people without an image in the source, {len(selection.not_met):,} of"
            f" {len(recipe.exclude):,}: {', '.join(selection.not_met[:_MOST_SHOWN])}{more}"
        )
    if kinds:
        say(f"left out {kinds.total():,} of {num_items:,} images; the reasons are in {path}")
    return kinds


def _write_shards(
    out: Path, work: Path, selection: Selection, recipe: Recipe, workers: int
) -> tuple[list[Shard], Iterable[NDArray[np.void]]]:
    """The shards, and their rows of the index, shard by shard."""
    sizes, digest = sizes_of(len(selection.samples), recipe), sha256_of(selection)
    missing = {number for number in range(len(sizes)) if not _is_finished(out, work, number, digest)}
    if len(missing) < len(sizes):
        say(f"{out}: {len(sizes) - len(missing):,} of {len(sizes):,} shards are there already")
    tasks = (task for task in tasks_of(selection.samples, recipe) if task.number in missing)
    num_images = sum(sizes[number] for number in missing)
    with progress(f"writing {out}", num_images) as show, closing(FaceReader(work)) as faces:
        run_tasks(ShardWriter(out, work, faces, digest), tasks, workers, show)
    paths = [sidecar_path(work, number) for number in range(len(sizes))]
    return [Sidecar.read(path).shard for path in paths], (Sidecar.read(path).rows for path in paths)


def _is_finished(out: Path, work: Path, number: int, selection_sha256: str) -> bool:
    try:
        sidecar = Sidecar.read(sidecar_path(work, number))
        size = (out / sidecar.shard.name).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return sidecar.selection_sha256 == selection_sha256 and size == sidecar.shard.bytes


def already_finished(out: Path) -> Manifest:
    """Say what a finished dataset holds.

    Raises:
        DataError: a shard is missing or damaged.
    """
    manifest = Manifest.load(out)
    for shard in manifest.shards:
        path = out / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise DataError(f"{path} is missing or not {shard.bytes:,} bytes long; remove {out} and start again")
    clear_work(out)
    say(f"finished already: {summary(out, manifest)}")
    return manifest


@contextmanager
def in_one_line(out: Path) -> Iterator[None]:
    """What cannot be written there ends the command with one line.

    Raises:
        DataError: instead of an OSError in the block.
    """
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}; mend it and start again") from error
