"""Writes a plan as a dataset; a run that was killed is continued where it stopped."""

from pathlib import Path
from typing import TypeVar

from data_prep.plan import Labelled, Plan
from data_prep.pool import run_tasks
from data_prep.progress import progress, say
from data_prep.publish import REJECTED_FILE, merge
from data_prep.record import Record, alone, clear_work, open_folder
from data_prep.shards import ShardTask, ShardWriter
from data_prep.sidecar import Sidecar, sidecar_path
from lightning_face.data.manifest import MANIFEST_FILE, Manifest
from lightning_face.errors import DataError

T = TypeVar("T", bound=Labelled)


def write_dataset(out: Path, plan: Plan[T], workers: int) -> Manifest:
    """Write a dataset, or what is still missing of it, and say in one line what it holds.

    The bytes are the same whatever the number of workers and however often the run was stopped.

    Args:
        out: its folder; made if missing.
        plan: what it holds.
        workers: processes; 0 works in this one.

    Raises:
        ConfigError: `out` was begun with other options, or holds something else.
        DataError: `out` cannot be written, or no image can be used.
    """
    record = Record(plan.all_options(), plan.sha256())
    work = open_folder(out, record)
    if (out / MANIFEST_FILE).exists():
        return _already_finished(out)
    try:
        with alone(work):
            sidecars = _write_shards(out, work, plan, record.plan_sha256, workers)
            manifest = merge(out, sidecars, plan.identities, plan.files, plan.shuffle)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}; mend it and start again") from error
    clear_work(out)
    say(summary(out, manifest))
    rejected = sum(len(sidecar.rejected) for sidecar in sidecars)
    if rejected:
        say(f"left out {rejected:,} of {len(plan.items):,} images; the reasons are in {out / REJECTED_FILE}")
    return manifest


def _write_shards(out: Path, work: Path, plan: Plan[T], plan_sha256: str, workers: int) -> list[Sidecar]:
    order = plan.order()
    missing = [number for number in range(len(order)) if not _is_finished(out, work, number, plan_sha256)]
    if len(missing) < len(order):
        say(f"{out}: {len(order) - len(missing):,} of {len(order):,} shards are there already")
    tasks = [
        ShardTask(number, order[number].tolist(), [plan.items[i] for i in order[number].tolist()]) for number in missing
    ]
    done = len(plan.items) - sum(len(task.items) for task in tasks)
    writer = ShardWriter(out, work, plan.make, plan_sha256, plan.keep_all)
    with progress(f"writing {out}", len(plan.items), done) as show:
        run_tasks(writer, tasks, workers, show, done)
    return [Sidecar.read(sidecar_path(work, number)) for number in range(len(order))]


def _is_finished(out: Path, work: Path, number: int, plan_sha256: str) -> bool:
    try:
        sidecar = Sidecar.read(sidecar_path(work, number))
        size = (out / sidecar.shard.name).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return sidecar.plan_sha256 == plan_sha256 and size == sidecar.shard.bytes


def _already_finished(out: Path) -> Manifest:
    manifest = Manifest.load(out)
    for shard in manifest.shards:
        path = out / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            raise DataError(f"{path} is missing or not {shard.bytes:,} bytes long; remove {out} and start again")
    clear_work(out)
    say(f"finished already: {summary(out, manifest)}")
    return manifest


def summary(out: Path, manifest: Manifest) -> str:
    """One line on what a dataset holds."""
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    return (
        f"{out}: {manifest.num_samples:,} images of {manifest.num_classes:,} identities"
        f" in {len(manifest.shards):,} shards, {megabytes:,.1f} MB"
    )
