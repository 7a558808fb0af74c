"""`rejected.csv`: every image of a source that is not in its dataset, and why."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.passes import spool
from data_prep.passes.recipe import Recipe
from data_prep.passes.selection import Why
from lightning_face.files import move_into_place

REJECTED_FILE = "rejected.csv"


def write_rejected(out: Path, work: Path, num_items: int, left_out: NDArray[np.void], recipe: Recipe) -> Counter[str]:
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


def _lines(work: Path, num_items: int, left_out: NDArray[np.void], recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """What the user knows an image by, the kind of its reason, and the reason."""
    sources = spool.SourceNames(work)
    for chunk in spool.chunks_of(num_items):
        start = chunk * spool.CHUNK_ITEMS
        spooled = spool.read_spooled(work, chunk)
        reasons = {place: (reason.split(":")[0], reason) for place, reason in spooled.rejected.items()}
        begin, end = np.searchsorted(left_out["number"], [start, start + spool.CHUNK_ITEMS])
        for number, why, detail in left_out[begin:end].tolist():
            if why == Why.DUPLICATE:
                reasons[number - start] = ("duplicate", f"duplicate of {sources[detail]}")
            elif why == Why.EXCLUDED:
                reasons[number - start] = ("excluded identity",) * 2
            elif why == Why.TOO_FEW:
                kind = f"identity with fewer than {recipe.min_images} images"
                reasons[number - start] = (kind, f"{kind}: {detail} left")
            else:
                kind = f"identity not among the {recipe.max_identities:,} with the most images"
                reasons[number - start] = (kind, kind)
        for place in sorted(reasons):
            yield (spooled.items[place], *reasons[place])
