"""A source becomes a dataset in two passes; a run that was killed is continued where it stopped."""

import os
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from data_prep.passes.gather import gather
from data_prep.passes.merge import already_finished, in_one_line, merge
from data_prep.passes.parts import Job, all_parts, gathering, unfinished
from data_prep.passes.recipe import Option, Recipe
from data_prep.passes.record import RECORD_FILE, Record, open_folder
from data_prep.passes.source import Source
from data_prep.progress import say
from lightning_face.data.manifest import MANIFEST_FILE, Manifest
from lightning_face.files import write_atomically

Item = TypeVar("Item")


def write_dataset(
    out: Path, source: Source[Item], recipe: Recipe, job: Job, *, options: Mapping[str, Option],
    files: Mapping[str, bytes] | None = None,
) -> Manifest | None:  # fmt: skip
    """Write a dataset, or what is still missing of it, and say in one line what it holds.

    The bytes are the same whatever the number of workers and parts, and however often the run was stopped.

    Args:
        out: its folder; made if missing.
        source: whose images it holds.
        recipe: which of them, and in which order.
        job: how to go about it. A part of the source is gathered only, until `merge`.
        options: of the command and the source, by the name of the flag: whatever decides its items and faces. A run is
            only continued with the same.
        files: further files of the dataset, contents by name.

    Returns:
        What it holds; None if other parts are not merged yet.

    Raises:
        ConfigError: `out` was begun with other options or from another source, or holds something else.
        DataError: `out` cannot be written, the source cannot be read, or too few of its images can be used.
    """
    items = source.items()
    if not os.path.exists(out / RECORD_FILE):
        items = _begun(items)
    work = open_folder(out, Record(options, recipe))
    if os.path.exists(out / MANIFEST_FILE):
        return already_finished(out)
    part = job.part
    with in_one_line(out), gathering(work, part):
        for name, data in (files or {}).items():
            write_atomically(out / name, data)
        if unfinished(work, [part]):
            part.finish(work, gather(work, source, items, part, recipe, job.workers))
    if part.of == 1:
        return merge(out, job.max_rejected, job.workers)
    left = ", ".join(map(str, unfinished(work, all_parts(part.of))))
    left = f"part(s) {left} are left, then" if left else "all parts are:"
    say(f"{out}: part {part} is gathered; {left} `python -m data_prep merge {out}`")
    return None


def _begun(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, but what is wrong with most sources shows now, before anything is written."""
    return chain(list(islice(items, 1)), items)
