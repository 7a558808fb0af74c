"""Training on shards from a web server, through a cache that holds a part of them."""

import json
from pathlib import Path

import pytest

from lightning_face.__main__ import main
from lightning_face.data.manifest import Manifest
from tests.e2e.conftest import run_cli
from tests.web import serving


def cache_options(folder: Path, max_gb: float) -> list[object]:
    fetch = {"pause_s": 0.0, "attempts": 3, "timeout_s": 30.0}
    return ["--data.cache", json.dumps({"folder": str(folder), "max_gb": max_gb, "fetch": fetch})]


def test_ends_where_local_shards_end(tiny_config, generated, tmp_path):
    """Two ranks with workers, room for two of three shards, and answers that fail now and then."""
    sizes = [shard.bytes for shard in Manifest.load(generated / "train").shards]
    options = ["--trainer.devices", 2, "--data.num_workers", 1, "--trainer.max_epochs", 1]
    assert run_cli("fit", "--config", tiny_config, "--run_dir", tmp_path / "local", *options).returncode == 0
    with serving(generated) as server:
        server.faults = {"shard-000001.tar": [503, "half"]}
        sources = ["--data.train", f"{server.url}/train", "--data.verification", f"{{held_out: {server.url}/verify}}"]
        cache = cache_options(tmp_path / "cache", 2.2 * max(sizes) / 1e9)
        run = tmp_path / "remote"
        done = run_cli("fit", "--config", tiny_config, "--run_dir", run, *options, *sources, *cache)
    assert done.returncode == 0, [line for line in done.stderr.splitlines() if "rror" in line]
    assert server.asked["shard-000001.tar"] >= 3
    assert (run / "metrics.csv").read_text() == (tmp_path / "local" / "metrics.csv").read_text()
    kept = [path for path in (tmp_path / "cache" / "shards").iterdir() if not path.suffix]
    assert sum(path.stat().st_size for path in kept) <= 2.2 * max(sizes)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_is_gone_is_one_line(tiny_config, generated, tmp_path, capfd, workers):
    with serving(generated) as server:
        server.faults = {f"shard-{number:06d}.tar": [404] * 99 for number in range(3)}
        sources = [
            "--data.train",
            f"{server.url}/train",
            "--data.verification",
            "{}",
            "--data.num_workers",
            str(workers),
        ]
        arguments = ["fit", "--config", tiny_config, "--run_dir", tmp_path / "run", *sources]
        code = main([str(argument) for argument in (*arguments, *cache_options(tmp_path / "cache", 1.0))])
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1
    assert "shard-00000" in errors[0] and "the server answers 404" in errors[0]
