"""What is wrong on one of two ranks is found, and both know."""

import shutil
import sys
from pathlib import Path

import torch

from lightning_face.data.shards import Shards
from lightning_face.distributed.world import rank
from lightning_face.doctor.datasets import check_shards
from lightning_face.doctor.finding import Finding, found_by
from lightning_face.doctor.machines import check_clocks, check_versions, clocks
from lightning_face.doctor.network import check_network
from lightning_face.doctor.storage import check_run_folder
from tests.ranks import run_ranks
from tests.rights import without_rights


def findings(dataset: Path, folder: Path) -> dict[str, Finding]:
    cpu, own = torch.device("cpu"), folder / f"of-{rank()}"
    found = {
        "versions": check_versions(),
        "clocks": check_clocks(clocks()),
        "network": check_network(cpu, 2**21),
        "slow": check_network(cpu, 2**21, least_gb_per_s=1e9),
        "shared": check_run_folder(folder),
        "apart": check_run_folder(own),
        "shards": check_shards(Shards(dataset)),
        "damaged": found_by(lambda: check_shards(Shards(folder / "damaged"))),
    }
    if rank() == 1:
        sys.path.insert(0, str(folder / "other"))
    found["other versions"] = check_versions()
    if rank() == 1:
        sys.path.remove(str(folder / "other"))
        with without_rights():
            found["rights"] = found_by(lambda: check_run_folder(folder))
    else:
        found["rights"] = found_by(lambda: check_run_folder(folder))
    return found


def test_both_ranks_find_what_is_wrong_on_one(tiny_dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "timm-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 9.9\n")
    damaged = shutil.copytree(tiny_dataset, tmp_path / "damaged")
    for shard in sorted(damaged.glob("*.tar"))[1:]:
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    tmp_path.chmod(0o755)
    found, of_one = run_ranks(findings, 2, tiny_dataset, tmp_path)
    assert {name: finding.level for name, finding in found.items()} == {
        "versions": "ok",
        "clocks": "ok",
        "network": found["network"].level,  # of whatever machine this is
        "slow": "warning",
        "shared": "ok",
        "apart": "fails",
        "shards": "ok",
        "damaged": "fails",
        "other versions": "fails",
        "rights": "fails",
    }
    assert {name: finding.level for name, finding in of_one.items()} == {
        name: finding.level for name, finding in found.items()
    }
    assert "the same on all 2 ranks" in found["versions"].figure and "GB/s" in found["slow"].figure
    assert "rank 0 on" in found["apart"].figure and "does not see what rank 1 on" in found["apart"].figure
    assert "3 of 3 shards" in found["shards"].figure and "another sha256" in found["damaged"].figure
    assert found["other versions"].figure.startswith("timm: ") and "9.9 on rank 1" in found["other versions"].figure
    assert found["rights"].figure.startswith("rank 1: ") and "Permission denied" in found["rights"].figure
    assert not list(tmp_path.glob(".doctor-*"))
