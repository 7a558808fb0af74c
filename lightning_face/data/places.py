"""Where a dataset lies: in a folder, or elsewhere, with copies of what is read in the node's cache."""

import hashlib
from pathlib import Path

from lightning_face.data.cache import CacheConfig, Copies, ShardCache, locked
from lightning_face.data.fetch import Fetcher, file_of, scheme_of, shown
from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_FILE, MANIFEST_FILE, Manifest
from lightning_face.data.shards import Shards
from lightning_face.errors import ConfigError, DataError
from lightning_face.files import sha256_of


def open_dataset(source: str, cache: CacheConfig | None, *also: str) -> Shards:
    """The shards of a dataset.

    Args:
        source: its folder, or a URL, below which its files lie.
        cache: where the node keeps copies; needed for a URL.
        also: further files of the dataset that will be wanted.

    Raises:
        ConfigError: there is no way to read it.
        DataError: it is no dataset, or cannot be copied.
    """
    if cache is None:
        if scheme_of(source):
            raise ConfigError(f"{shown(source)} is remote: set data.cache, where this node keeps copies of its shards")
        return Shards(Path(source))
    Fetcher(cache.fetch).check(source)
    folder = _mirrored(source, cache, also)
    shards = Shards(folder, Copies(source, ShardCache(cache)))
    largest = max(shards.manifest.shards, key=lambda shard: shard.bytes)
    if largest.bytes > cache.max_gb * 1e9:
        raise ConfigError(
            f"data.cache.max_gb {cache.max_gb:g} is too small: {largest.name} of {shown(source)} has"
            f" {largest.bytes:,} bytes"
        )
    return shards


def _mirrored(source: str, cache: CacheConfig, also: tuple[str, ...]) -> Path:
    """The folder of this node that holds all of a dataset but its shards, as it is now."""
    folder = Path(cache.folder) / "datasets" / hashlib.sha256(source.encode()).hexdigest()[:16]
    fetcher = Fetcher(cache.fetch)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            _fetch(fetcher, source, folder / MANIFEST_FILE)
            manifest = Manifest.load(folder)
            index = folder / INDEX_FILE
            if not index.is_file() or sha256_of(index) != manifest.index_sha256:
                _fetch(fetcher, source, index, sha256=manifest.index_sha256)
            for name in (IDENTITIES_FILE, *also):
                _fetch(fetcher, source, folder / name)
    except OSError as error:
        raise DataError(f"cannot keep copies in {folder}: {error.strerror or error}; mend data.cache.folder") from error
    return folder


def _fetch(fetcher: Fetcher, source: str, path: Path, sha256: str | None = None) -> None:
    # Beside, and renamed: other processes may have the one before open.
    part = path.with_name(f".{path.name}.part")
    fetcher.fetch(file_of(source, path.name), part, sha256=sha256)
    part.rename(path)
