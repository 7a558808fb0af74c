"""Free memory of a host, as far as the groups that hold this process (a container, a job) may use it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class _Files(NamedTuple):
    """What a version of Linux's control groups calls things.

    Args:
        mount: under the root of the file system.
        limit: bytes, or a word for none.
        usage: bytes, the cache of files included.
        cache: the line of `memory.stat` with what of it is given back when memory is short, subgroups included.
    """

    mount: str
    limit: str
    usage: str
    cache: str


_VERSION_1 = _Files("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Files("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def free_host_bytes(root: Path = Path("/")) -> float:
    """What the system has left, or the tightest of the groups around this process; infinite if nobody tells."""
    return min([_left_in_system(root), *_left_in_groups(root)])


def _left_in_system(root: Path) -> float:
    info = root / "proc/meminfo"
    return 1024.0 * _number_in(info, "MemAvailable:") if info.is_file() else math.inf  # kB


def _left_in_groups(root: Path) -> Iterator[float]:
    """Of the own group and of all above it: a job's limit may stand higher than its tasks."""
    own_groups = root / "proc/self/cgroup"
    for line in own_groups.read_text().splitlines() if own_groups.is_file() else ():
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        files = _VERSION_1 if controllers else _VERSION_2
        mount = root / files.mount
        # In a container the own name may be the host's, which is not visible: what is mounted is the own group then.
        group = mount / name.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(mount) and (folder / files.limit).is_file():
                yield _left_in(folder, files)


def _left_in(group: Path, files: _Files) -> float:
    limit = (group / files.limit).read_text().strip()
    if not limit.isdecimal() or not (group / files.usage).is_file():
        return math.inf
    used = int((group / files.usage).read_text()) - _number_in(group / "memory.stat", files.cache)
    return max(0.0, float(int(limit) - used))


def _number_in(path: Path, name: str) -> int:
    """The number that follows a name at the beginning of a line; 0 where there is no such line or file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(words[1]) for words in map(str.split, lines) if words[:1] == [name]), 0)
