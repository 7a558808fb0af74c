"""`rejected.csv`: every image of a source that is not in its dataset, and why."""

import csv
import heapq
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from data_prep.passes import spool
from data_prep.passes.recipe import Recipe
from data_prep.passes.rows import Rows
from data_prep.passes.verdicts import Why
from lightning_face.files import move_into_place

REJECTED_FILE = "rejected.csv"

_NUMBER = re.compile(r"\d+")
"""The places of damaged records are no kinds of damage."""

_Reason = tuple[int, str, str]
"""Number of an image in the source, the kind of its reason, and the reason."""


def write_rejected(out: Path, work: Path, num_items: int, left_out: Rows, recipe: Recipe) -> Counter[str]:
    """Write `rejected.csv`, line by line in the order of the source; names that are not UTF-8 get backslashes.

    Args:
        out: folder of the dataset.
        work: folder of unfinished work.
        num_items: of the source.
        left_out: LEFT_OUT_DTYPE, in the order of the source.
        recipe: why they were left out.

    Returns:
        How many images are left out for which kind of reason.

    Raises:
        OSError: it cannot be written.
    """
    kinds = Counter[str]()
    temporary = work / REJECTED_FILE
    with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("source", "reason"))
        for source, kind, reason in _lines(work, num_items, left_out, recipe):
            writer.writerow((source, " ".join(reason.split())))
            kinds[" ".join(kind.split())] += 1
    move_into_place(temporary, out / REJECTED_FILE)
    return kinds


def _lines(work: Path, num_items: int, left_out: Rows, recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """What the user knows an image by, the kind of its reason, and the reason."""
    sources = spool.SourceNames(work)
    both = _unusable(work, num_items), _not_chosen(left_out, sources, recipe)
    for number, kind, reason in heapq.merge(*both):
        yield sources[number], kind, reason


def _unusable(work: Path, num_items: int) -> Iterator[_Reason]:
    for chunk in spool.chunks_of(num_items):
        for place, reason in sorted(spool.read_spooled(work, chunk).rejected.items()):
            yield chunk * spool.CHUNK_ITEMS + place, _NUMBER.sub("#", reason.split(":")[0]), reason


def _not_chosen(left_out: Rows, sources: spool.SourceNames, recipe: Recipe) -> Iterator[_Reason]:
    few = f"identity with fewer than {recipe.min_images} images"
    many = f"identity not among the {recipe.max_identities or 0:,} with the most images"
    for number, why, detail in chain.from_iterable(block.tolist() for block in left_out.blocks()):
        if why == Why.DUPLICATE:
            yield number, "duplicate", f"duplicate of {sources[detail]}"
        elif why == Why.EXCLUDED:
            yield number, "excluded identity", "excluded identity"
        elif why == Why.TOO_FEW:
            yield number, few, f"{few}: {detail} left"
        else:
            yield number, many, many
