"""Free memory is that of the system or of the tightest group around the process, in either version of cgroups."""

import math
from pathlib import Path

import pytest

from lightning_face.tables.host_memory import free_host_bytes

SYSTEM_KB = 900


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with 900 kB available."""
    write(tmp_path / "proc/meminfo", f"MemTotal: 2000 kB\nMemFree: 100 kB\nMemAvailable:   {SYSTEM_KB} kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def group_2(root: Path, name: str, limit: str, used: int, cache: int) -> None:
    """A group of version 2."""
    folder = root / "sys/fs/cgroup" / name
    write(folder / "memory.max", f"{limit}\n")
    write(folder / "memory.current", f"{used}\n")
    write(folder / "memory.stat", f"anon 5\ninactive_file {cache}\nactive_file 7\n")


def group_1(root: Path, name: str, limit: int, used: int, cache: int) -> None:
    """A group of version 1, whose own cache is not that of its subgroups."""
    folder = root / "sys/fs/cgroup/memory" / name
    write(folder / "memory.limit_in_bytes", f"{limit}\n")
    write(folder / "memory.usage_in_bytes", f"{used}\n")
    write(folder / "memory.stat", f"inactive_file 1\ntotal_inactive_file {cache}\n")


def test_a_system_that_does_not_tell_has_no_end(tmp_path: Path) -> None:
    assert free_host_bytes(tmp_path) == math.inf


def test_without_groups_the_system_decides(root: Path) -> None:
    assert free_host_bytes(root) == 1024 * SYSTEM_KB
    write(root / "proc/self/cgroup", "0::/\n")  # the root of version 2 has no limit, and no files for one
    assert free_host_bytes(root) == 1024 * SYSTEM_KB


@pytest.mark.parametrize(
    ("limit", "used", "cache", "expected"),
    [("5000", 3000, 0, 2000), ("5000", 3000, 400, 2400), ("5000", 6000, 0, 0), ("max", 3000, 0, 1024 * SYSTEM_KB)],
    ids=["limit", "cache is given back", "more than allowed", "no limit"],
)
def test_version_2(root: Path, limit: str, used: int, cache: int, expected: int) -> None:
    write(root / "proc/self/cgroup", "0::/job/task\n")
    group_2(root, "job/task", limit, used, cache)
    assert free_host_bytes(root) == expected


def test_the_tightest_of_all_groups_above_decides(root: Path) -> None:
    """A scheduler may limit the job, and not the task in it."""
    write(root / "proc/self/cgroup", "0::/slurm/job_7/task_0\n")
    group_2(root, "slurm/job_7/task_0", "max", 100, 0)
    group_2(root, "slurm/job_7", "4000", 3500, 100)
    group_2(root, "slurm", "90000", 3500, 100)
    assert free_host_bytes(root) == 600


def test_version_1(root: Path) -> None:
    write(root / "proc/self/cgroup", "5:cpu:/elsewhere\n4:cpuset,memory:/job\n0::/\n")
    group_1(root, "", 2**63 - 4096, 9000, 0)
    group_1(root, "job", 8000, 5000, 700)
    assert free_host_bytes(root) == 3700


def test_a_group_that_does_not_tell_has_no_limit(root: Path) -> None:
    write(root / "proc/self/cgroup", "0::/job\n")
    write(root / "sys/fs/cgroup/job/memory.max", "1000\n")
    assert free_host_bytes(root) == 1024 * SYSTEM_KB
    write(root / "sys/fs/cgroup/job/memory.current", "400\n")
    assert free_host_bytes(root) == 600
    write(root / "sys/fs/cgroup/job/memory.stat", "anon 5\n")
    assert free_host_bytes(root) == 600


def test_container_sees_its_own_group_as_the_root(root: Path) -> None:
    """The name is the host's, which is not mounted."""
    write(root / "proc/self/cgroup", "4:memory:/docker/0123\n")
    group_1(root, "", 8000, 5000, 0)
    assert free_host_bytes(root) == 3000


def test_this_system_has_some() -> None:
    assert 0 < free_host_bytes() < 2**60
