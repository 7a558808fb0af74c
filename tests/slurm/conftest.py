"""A cluster for the tests of a file, and a config for their runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import generated, write_tiny_config  # noqa: F401
from tests.slurm.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes; whatever happens, nothing of them is left."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name, path=path)]
    if missing or os.getuid() != 0:
        pytest.skip(f"SLURM is not installed: {', '.join(missing)}" if missing else "a cluster needs root")
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.mini_cluster("up", "2")
        yield cluster
    finally:
        cluster.mini_cluster("down")


@pytest.fixture(scope="session")
def config(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A config that trains a tiny network for 32 steps, a sample of the data in each."""
    return write_tiny_config(tmp_path_factory.mktemp("config") / "tiny.yaml", generated)
