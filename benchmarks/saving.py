"""How long training waits for a checkpoint, beside the time of a plain write of the same state.

Trains on real ranks (gloo on the CPU): a backbone under DDP, and class tables of centers and of a classifier with
momentum, shared out over the ranks. Prints a table and leaves it in the output folder as saving.md.
"""

import argparse
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.measuring import start_ranks
from benchmarks.sheets import Sheet, markdown
from lightning_face.checkpoint.directory import checkpoints_of, name_of, prune
from lightning_face.checkpoint.saver import Saver
from lightning_face.distributed.agreement import any_rank, gather_objects
from lightning_face.models import build_backbone
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.trainer import FaceTrainer

TARGET = 0.2
_STEPS_ALONE = 3
_MANY = 1_000_000

HEADER = ("W", "MB", "plain", "stall", "/ plain", "first", "written", "step", "meanwhile")
LEGEND = (
    "MB: of the files; plain: s of a write for which training waits; stall: s that training waits for one that is"
    f" written meanwhile; / plain: stall over plain, at most {TARGET}; first: s that training waits for the"
    " first one, whose memory is new; written: s until it is published; step: ms of a step while nothing is written;"
    " meanwhile: ms of a step while something is. Medians, of the slowest rank."
)


@dataclass(frozen=True)
class Setting:
    """Sizes of one measurement.

    Args:
        num_ranks: W.
        num_classes: C.
        dim: D of the embedding.
        backbone: by name.
        repeats: checkpoints of each kind, after the first.
        folder: where they are written.
    """

    num_ranks: int
    num_classes: int
    dim: int
    backbone: str
    repeats: int
    folder: Path


@dataclass(frozen=True)
class Checkpoint:
    """Seconds that a checkpoint took, of the slowest rank; bytes of all of its files."""

    plain: float
    stall: float
    written: float
    step_alone: float
    step_meanwhile: float
    num_bytes: int


class _Module(LightningModule):
    """A backbone and class tables that are all saved; only the backbone moves."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        self.backbone = build_backbone(setting.backbone, image_size=112, embedding_dim=setting.dim)

    def setup(self, stage: str) -> None:
        config = ObjectiveConfig(SoftmaxConfig(placement="sharded"), CenterConfig(placement="sharded"))
        shape: dict[str, Any] = {"num_classes": self.setting.num_classes, "dim": self.setting.dim}
        self.objective = Objective(config, seed=1, device=torch.device("cpu"), **shape)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return torch.stack([parameter.flatten()[0] for parameter in self.backbone.parameters()]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.backbone.parameters(), lr=1e-6, momentum=0.9)


class _Data(LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.position = SimpleNamespace(state=dict)
        self.identities_file = Path(__file__)  # any text

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(_MANY), batch_size=None)  # type: ignore[arg-type]


class _Course(Callback):
    """Saves in both ways, in turns, between the steps of a training."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.checkpoints: list[Checkpoint] = []

    def on_train_start(self, trainer: FaceTrainer, pl_module: LightningModule) -> None:  # type: ignore[override]
        self._steps = self._course(trainer)

    def on_train_batch_start(self, *args: Any) -> None:
        next(self._steps, None)

    def _course(self, trainer: FaceTrainer) -> Iterator[None]:
        """Trains a step at every `yield`."""
        meanwhile, waiting = trainer.saver, Saver(memory_share=0.0)
        final = checkpoints_of(self.setting.folder) / name_of(1)
        save = partial(trainer.begin_saving, final, partial(prune, final.parent, 1))
        yield  # the optimizer's state comes with the first step
        for _ in range(1 + self.setting.repeats):
            started = time.perf_counter()
            for _ in range(_STEPS_ALONE):
                yield
            alone = (time.perf_counter() - started) / _STEPS_ALONE
            trainer.saver = waiting
            plain = _seconds(save)
            trainer.saver = meanwhile
            stall, begun, steps = _seconds(save), time.perf_counter(), 0
            while meanwhile.is_under_way:
                yield
                steps += 1
                stall += _seconds(meanwhile.finish_if_ended)
            written = time.perf_counter() - begun
            size = sum(path.stat().st_size for path in final.iterdir())
            self.checkpoints.append(Checkpoint(plain, stall, written, alone, written / max(1, steps), size))
        trainer.should_stop = True


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for num_ranks in options.ranks:
        with tempfile.TemporaryDirectory(dir=options.out) as folder, start_ranks(num_ranks) as pool:
            setting = Setting(num_ranks, options.classes, options.dim, options.backbone, options.repeats, Path(folder))
            port = _free_port()
            jobs = [pool.submit(measure, rank, setting, port) for rank in range(num_ranks)]
            of_rank_zero, *_ = [job.result() for job in jobs]
            rows.append(row(num_ranks, of_rank_zero))
    report = markdown([Sheet(HEADER, rows)], LEGEND)
    print(report)
    (options.out / "saving.md").write_text(report)


def row(num_ranks: int, checkpoints: list[Checkpoint]) -> tuple[str, ...]:
    """What is reported of a number of ranks."""
    first, *others = checkpoints
    median = Checkpoint(*(statistics.median(getattr(one, field.name) for one in others) for field in fields(first)))
    return (
        str(num_ranks),
        f"{median.num_bytes / 1e6:,.0f}",
        f"{median.plain:.2f}",
        f"{median.stall:.3f}",
        f"{median.stall / median.plain:.3f}",
        f"{first.stall:.2f}",
        f"{median.written:.2f}",
        f"{1e3 * median.step_alone:,.0f}",
        f"{1e3 * median.step_meanwhile:,.0f}",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.saving", description=__doc__.split("\n\n")[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], metavar="W", help="default: 1 2")
    parser.add_argument("--classes", type=int, default=100_000, metavar="C", help="default: 100000")
    parser.add_argument("--dim", type=int, default=512, metavar="D", help="of the embedding (default: 512)")
    parser.add_argument("--backbone", default="iresnet50", help="default: iresnet50")
    parser.add_argument("--repeats", type=int, default=5, help="checkpoints of each kind (default: 5)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder (default: runs/benchmarks)")
    return parser


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _seconds(work: Callable[[], object]) -> float:
    any_rank(False)  # all begin together
    started = time.perf_counter()
    work()
    return float(max(gather_objects(time.perf_counter() - started)))


def measure(rank: int, setting: Setting, port: int) -> list[Checkpoint]:
    """What one rank sees; the first checkpoint's memory is new."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": setting.num_ranks, "MASTER_PORT": port}
    if setting.num_ranks > 1:
        os.environ |= {name: str(value) for name, value in ranks.items()} | {"MASTER_ADDR": "127.0.0.1"}
        os.environ["TORCHELASTIC_RUN_ID"] = "saving"
    torch.set_num_threads(1)
    torch.manual_seed(1)
    course = _Course(setting)
    trainer = FaceTrainer(
        accelerator="cpu",
        devices=setting.num_ranks,
        strategy="ddp" if setting.num_ranks > 1 else "auto",
        max_steps=_MANY,
        callbacks=[course],
        default_root_dir=setting.folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(_Module(setting), _Data())
    return course.checkpoints


if __name__ == "__main__":
    main()
