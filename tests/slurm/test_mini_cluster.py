"""slurm/mini_cluster.sh: up, down, and nothing left."""

from pathlib import Path

from tests.slurm.cluster import Cluster


def living(home):
    """Processes that know of a cluster's folder, by their command, environment or open files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            opened = [str(file.readlink()) for file in (process / "fd").iterdir()]
        except OSError:
            continue  # it ended, or is a zombie
        if str(home).encode() in told or any(path.startswith(f"{home}/") for path in opened):
            found.append(process.name)
    return found


def test_up_and_down_twice(cluster, tmp_path):
    """Beside another cluster, with a job whose task would run on."""
    other = Cluster(tmp_path / "other")
    for _ in range(2):
        other.mini_cluster("up", "1")
        job = other.submit(tmp_path / "log", "--wrap=srun sleep 1000")
        job.wait_until("it runs", lambda job=job: job.field("JobState") == "RUNNING")
        assert living(tmp_path / "other")
        other.mini_cluster("down")
        assert living(tmp_path / "other") == []
    other.mini_cluster("down")
