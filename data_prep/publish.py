"""The end of a dataset: sidecars merged into index, identities, rejects and, last, the manifest."""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.sidecar import Sidecar
from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_DTYPE, INDEX_FILE, MANIFEST_FILE, Manifest, Shard
from lightning_face.errors import DataError
from lightning_face.files import write_atomically

REJECTED_FILE = "rejected.csv"


def merge(
    out: Path, sidecars: Sequence[Sidecar], identities: Sequence[str], files: Mapping[str, bytes], shuffled: bool
) -> Manifest:
    """Write what lies beside the shards.

    Args:
        out: folder of the dataset.
        sidecars: of all shards, in order.
        identities: name of each label.
        files: further files, contents by name.
        shuffled: whether samples were spread over the shards.

    Raises:
        DataError: every image was rejected.
        OSError: a file cannot be written.
    """
    rejected = sorted(reject for sidecar in sidecars for reject in sidecar.rejected)
    write_atomically(out / REJECTED_FILE, rejected_csv(rejected))
    full = []
    for sidecar in sidecars:
        if sidecar.shard.samples:
            full.append(sidecar)
        else:  # readers need not know of tars without a sample
            (out / sidecar.shard.name).unlink(missing_ok=True)
    if not full:
        raise DataError(f"none of the {len(rejected):,} images can be used; the reasons are in {out / REJECTED_FILE}")
    rows = [sidecar.rows.copy() for sidecar in full]
    for number, of_shard in enumerate(rows):
        of_shard["shard"] = number
    for name, data in files.items():
        write_atomically(out / name, data)
    return publish(out, [sidecar.shard for sidecar in full], np.concatenate(rows), identities, shuffled)


def publish(
    out: Path, shards: Sequence[Shard], index: NDArray[np.void], identities: Sequence[str], shuffled: bool
) -> Manifest:
    """Write index, identities and the manifest: last, since a folder with a manifest is a finished dataset.

    Raises:
        OSError: a file cannot be written.
    """
    data = index.astype(INDEX_DTYPE).tobytes()
    write_atomically(out / INDEX_FILE, data)
    write_atomically(out / IDENTITIES_FILE, identities_text(identities))
    manifest = Manifest(len(index), len(identities), shuffled, hashlib.sha256(data).hexdigest(), tuple(shards))
    write_atomically(out / MANIFEST_FILE, manifest.to_json().encode())
    return manifest


def identities_text(identities: Iterable[str]) -> bytes:
    """Contents of `identities.txt`."""
    return "".join(f"{name}\n" for name in identities).encode()


def rejected_csv(rejected: Iterable[tuple[int, str, str]]) -> bytes:
    """Contents of `rejected.csv`; file names that are not UTF-8 are written with backslashes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source", "reason"))
    writer.writerows((source, " ".join(reason.split())) for _, source, reason in rejected)
    return text.getvalue().encode(errors="backslashreplace")
