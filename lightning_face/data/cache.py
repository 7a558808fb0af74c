"""A node's own copies of shards: whole, checked, shared by its processes; those not used for longest make room."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lightning_face.data.fetch import FetchConfig, Fetcher, file_of
from lightning_face.data.manifest import Shard
from lightning_face.errors import ConfigError, DataError

_PART = ".part"
_LOCK = ".lock"
_POLL_S = 0.05
_LONGEST_WAIT_S = 600.0


@dataclass(frozen=True)
class CacheConfig:
    """Where a node keeps copies of the shards of datasets that are remote, or on a slow file system.

    Args:
        folder: on a disk of the node's own; shared by its ranks, their workers, and other runs.
        max_gb: 10^9 bytes that the copies may take together; at least the shards that all ranks of the node read at a
            time, or these are copied again and again.
        fetch: how files are copied.
    """

    folder: str
    max_gb: float
    fetch: FetchConfig = field(default_factory=FetchConfig)

    def __post_init__(self) -> None:
        if not self.max_gb > 0:
            raise ConfigError(f"data.cache.max_gb must be above 0, got {self.max_gb}")


class ShardCache:
    """Shards by the digest of their contents, so that datasets and runs share what is the same.

    Any number of processes may use the folder, and any of them may be killed: a shard has its name when it is whole,
    and whoever copies one holds a lock that the kernel releases. One process copies it, the others wait.

    Args:
        config: of the cache.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.max_bytes = int(config.max_gb * 1e9)
        self._fetcher = Fetcher(config.fetch)
        self._folder = Path(config.folder) / "shards"

    def open(self, shard: Shard, source: str) -> int:
        """A descriptor of the shard; it is copied first if it is not here.

        Args:
            shard: its line of the manifest.
            source: path or URL.

        Raises:
            DataError: it cannot be copied, or the cache is too small.
        """
        with self._whole(shard, source) as path:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def bring(self, shard: Shard, source: str) -> None:
        """Copy the shard if it is not here; else remember that it was wanted now.

        Raises:
            DataError: it cannot be copied, or the cache is too small.
        """
        with self._whole(shard, source):
            pass

    @contextmanager
    def _whole(self, shard: Shard, source: str) -> Iterator[Path]:
        """The shard's copy, which nobody drops meanwhile."""
        path = self._folder / shard.sha256
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with locked(_lock_of(path)):
                # Other bytes: the machine lost power after the rename, before they were on the disk.
                if not path.exists() or path.stat().st_size != shard.bytes:
                    self._copy(shard, source, path)
                os.utime(path)
                yield path
        except OSError as error:
            raise DataError(
                f"cannot keep {shard.name} in {self._folder}: {error.strerror or error}; mend data.cache.folder"
            ) from error

    def _copy(self, shard: Shard, source: str, path: Path) -> None:
        part = path.with_name(f"{path.name}.{shard.bytes}{_PART}")  # counted with all its bytes from now on
        for left_by_the_dead in (part, path):
            left_by_the_dead.unlink(missing_ok=True)
        self._reserve(part, shard)
        try:
            self._fetcher.fetch(source, part, shard.bytes, shard.sha256)
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _reserve(self, part: Path, shard: Shard) -> None:
        """Make an empty file that counts with all bytes of the shard, as soon as there is room."""
        for _ in range(int(_LONGEST_WAIT_S / _POLL_S)):
            with locked(self._folder / "room.lock"):
                if self._make_room(shard.bytes):
                    return part.touch()
            time.sleep(_POLL_S)  # until another process has copied, and lets go of, what is in the way
        raise DataError(
            f"data.cache.max_gb {self.max_bytes / 1e9:g} is too small for what the processes of this node copy at a"
            f" time: {shard.name} with {shard.bytes:,} bytes waited {_LONGEST_WAIT_S:.0f} s for room"
        )

    def _make_room(self, num_bytes: int) -> bool:
        """Drop what was not wanted for longest, and what killed processes left; whether that was enough."""
        copies = [copy for path in self._folder.iterdir() if (copy := _Copy.at(path)) is not None]
        taken = sum(copy.num_bytes for copy in copies)
        for copy in sorted(copies):
            if taken + num_bytes > self.max_bytes and copy.drop():
                taken -= copy.num_bytes
        return taken + num_bytes <= self.max_bytes


@dataclass(frozen=True)
class Copies:
    """The shards of one dataset in the node's cache.

    Args:
        source: folder or URL of the dataset.
        cache: the node's.
    """

    source: str
    cache: ShardCache

    def open(self, shard: Shard) -> int:
        """See `ShardCache.open`."""
        return self.cache.open(shard, file_of(self.source, shard.name))

    def bring(self, shard: Shard) -> None:
        """See `ShardCache.bring`."""
        self.cache.bring(shard, file_of(self.source, shard.name))


class _Copy(NamedTuple):
    """A file of the cache, whole or in the making."""

    wanted_at_ns: int
    num_bytes: int
    path: Path

    @classmethod
    def at(cls, path: Path) -> "_Copy | None":
        """None for locks, and for what another process has dropped."""
        if path.suffix == _LOCK:
            return None
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        size = int(path.name.split(".")[1]) if path.suffix == _PART else status.st_size
        return cls(status.st_mtime_ns, size, path)

    def drop(self) -> bool:
        """Remove it, unless a living process is making or opening it; whoever has it open reads on."""
        with locked(_lock_of(self.path), wait=False) as is_free:
            if is_free:
                self.path.unlink(missing_ok=True)
            return is_free


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock among processes and threads; a killed one lets go of it.

    Args:
        path: of the lock's own file, made if missing.
        wait: until it is free; otherwise True is given only if it is.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            # Closing would not do: a process forked meanwhile, a data worker say, has the file open too.
            fcntl.flock(file, fcntl.LOCK_UN)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name.split(".")[0] + _LOCK)
