"""Each check on one rank: what is well, and what is not."""

import shutil
import socket
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_face.data.shards import Shards
from lightning_face.distributed.rendezvous import meet
from lightning_face.doctor.costs import check_tables, checkpoint_bytes
from lightning_face.doctor.datasets import check_people, check_shards
from lightning_face.doctor.finding import found_by
from lightning_face.doctor.machines import Device, check_clocks, check_devices, check_versions
from lightning_face.doctor.storage import check_run_folder, check_space
from lightning_face.doctor.tracking import check_wandb
from lightning_face.errors import ConfigError
from lightning_face.loggers import WandbConfig
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig, table_plans
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from tests.rights import without_rights

CPU = torch.device("cpu")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("rank", "expected"),
    [(0, "rank 1, rank 2 of 3 did not come within 1 s; there are rank 0 on"), (2, "cannot reach rank 0 at 127.0.0.1")],
)
def test_ranks_that_do_not_come_are_named_in_time(rank: int, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        meet("127.0.0.1", free_port(), rank, 3, backend="gloo", timeout_s=1.0)


def test_one_rank_agrees_with_itself() -> None:
    finding = check_versions()
    assert finding.level == "ok" and f"torch {torch.__version__.split('+')[0]}" in finding.figure


def test_clocks_that_differ() -> None:
    assert check_clocks([100.0, 100.4]).level == "ok"
    finding = check_clocks([100.0, 103.5, 100.1])
    assert finding.level == "warning" and finding.figure == "3.50 s apart at most, rank 1 ahead"


GPUS = [Device(host, "H100", f"uuid-{host}-{number}", 16) for host in ("a", "b") for number in range(2)]


@pytest.mark.parametrize(
    ("devices", "level", "figure"),
    [
        (GPUS, "ok", "4 x H100 on 2 nodes"),
        ([*GPUS, GPUS[3]], "fails", "ranks [3, 4] share one H100 on b"),
        ([*GPUS, Device("c", "A100", "uuid-c", 16)], "warning", "4 x H100, 1 x A100 on 3 nodes"),
        ([Device("a", "CPU", "host", 2)] * 2, "ok", "2 x CPU on 1 node"),
        ([Device("a", "CPU", "host", 2)] * 3, "warning", "3 ranks share 2 cores on a"),
    ],
    ids=["GPUs", "shared", "mixed", "CPUs", "crowded"],
)
def test_devices(devices: list[Device], level: str, figure: str) -> None:
    finding = check_devices(devices)
    assert (finding.level, finding.figure) == (level, figure)
    assert bool(finding.advice) == (level != "ok")


def test_tables_that_do_not_fit() -> None:
    plans = table_plans(ObjectiveConfig(), 1000, 512)
    assert check_tables(plans, 1000, CPU).figure == (
        "classifier 6.1 MB (replicated), centers 2.1 MB (replicated) on each rank"
    )
    finding = found_by(lambda: check_tables(plans, 10**11, CPU))
    assert finding.level == "fails" and "need" in finding.figure and "ranks with as much memory" in finding.figure


@pytest.mark.parametrize(
    ("optimizer", "per_weight"),
    [
        (lambda groups: torch.optim.SGD(groups, lr=0.1), 0),
        (lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9), 1),
        (torch.optim.AdamW, 2),
    ],
    ids=["sgd", "momentum", "adamw"],
)
def test_bytes_of_a_checkpoint(optimizer, per_weight: int) -> None:
    averaged = nn.Linear(3, 5).requires_grad_(False)
    module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), averaged)
    weights, others = 4 * (3 * 5 + 5 + 5 + 5), 4 * (5 + 5) + 8 + 4 * (3 * 5 + 5)
    mml = MinimumMarginConfig(mode="B", scope="all", center_rate=0.1)
    plans = table_plans(ObjectiveConfig(SoftmaxConfig(), CenterConfig(), mml), 7, 4)
    tables = 7 * 4 * (4 + 4 + 4 + 1)  # the classifier with its momentum, the centers and when they moved
    assert checkpoint_bytes(module, optimizer, plans, 7) == weights * (1 + per_weight) + others + tables


def test_run_folder(tmp_path: Path) -> None:
    assert check_run_folder(tmp_path / "runs" / "new").level == "ok"
    assert list((tmp_path / "runs" / "new").iterdir()) == []
    tmp_path.chmod(0o700)
    with without_rights():
        finding = found_by(lambda: check_run_folder(tmp_path / "runs"))
    assert finding.level == "fails" and "cannot be written" in finding.figure and "Permission denied" in finding.figure


def test_space_for_checkpoints(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert check_space(tmp_path / "new", 1000, keep=2).level == "ok"
    assert check_space(tmp_path, free // 3, keep=2).level == "warning"
    assert check_space(tmp_path, free, keep=2).level == "fails"


def test_a_changed_shard(tiny_dataset: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_dataset, tmp_path / "train")
    finding = check_shards(Shards(folder))
    assert finding.level == "ok" and "202 images" in finding.figure and "3 of 3 shards" in finding.figure
    with (folder / "shard-000001.tar").open("r+b") as shard:
        shard.seek(5000)
        shard.write(b"another byte")
    finding = found_by(lambda: check_shards(Shards(folder)))
    assert finding.level == "fails" and f"{folder}/shard-000001.tar has another sha256" in finding.figure


def test_identities_without_images() -> None:
    assert check_people(torch.tensor([3, 1, 2])).figure == "3 identities, median of 2 images, 1 with a single one"
    finding = check_people(torch.tensor([3, 0, 2]))
    assert finding.level == "warning" and "1 with none" in finding.figure


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_wandb_that_nobody_needs_to_reach(mode) -> None:
    assert check_wandb(WandbConfig(mode=mode)).level == "ok"
