"""The end of a dataset: index, identities and, last, the manifest."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_DTYPE, INDEX_FILE, MANIFEST_FILE, Manifest, Shard
from lightning_face.files import sha256_of, write_atomically


def publish(
    out: Path, shards: Sequence[Shard], index: Iterable[NDArray[np.void]], identities: Sequence[str], shuffled: bool
) -> Manifest:
    """Write index, identities and the manifest: last, since a folder with a manifest is a finished dataset.

    Args:
        out: the folder.
        shards: in it.
        index: INDEX_DTYPE, some rows after others.
        identities: name of each label.
        shuffled: whether neighbours in a shard are strangers.

    Raises:
        OSError: a file cannot be written.
    """
    write_atomically(out / INDEX_FILE, (rows.astype(INDEX_DTYPE, copy=False).tobytes() for rows in index))
    write_atomically(out / IDENTITIES_FILE, identities_text(identities))
    num_samples = sum(shard.samples for shard in shards)
    manifest = Manifest(num_samples, len(identities), shuffled, sha256_of(out / INDEX_FILE), tuple(shards))
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
