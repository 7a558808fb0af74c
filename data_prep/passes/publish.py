"""The end of a dataset: index, identities and, last, the manifest."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_DTYPE, INDEX_FILE, MANIFEST_FILE, Manifest, Shard
from lightning_face.files import write_atomically


def publish(
    out: Path, shards: Sequence[Shard], index: NDArray[np.void], identities: Sequence[str], shuffled: bool
) -> Manifest:
    """Write index, identities and the manifest: last, since a folder with a manifest is a finished dataset.

    Raises:
        OSError: a file cannot be written.
    """
    data = index.astype(INDEX_DTYPE, copy=False).tobytes()
    write_atomically(out / INDEX_FILE, data)
    write_atomically(out / IDENTITIES_FILE, identities_text(identities))
    manifest = Manifest(len(index), len(identities), shuffled, hashlib.sha256(data).hexdigest(), tuple(shards))
    write_atomically(out / MANIFEST_FILE, manifest.to_json().encode())
    return manifest


def identities_text(identities: Iterable[str]) -> bytes:
    """Contents of `identities.txt`."""
    return "".join(f"{name}\n" for name in identities).encode()


def summary(out: Path, manifest: Manifest) -> str:
    """One line on what a dataset holds."""
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    return (
        f"{out}: {manifest.num_samples:,} images of {manifest.num_classes:,} identities"
        f" in {len(manifest.shards):,} shards, {megabytes:,.1f} MB"
    )
