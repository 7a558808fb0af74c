"""`python -m lightning_face doctor`: what would end a run, found before the night in the queue."""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.strategies import ParallelStrategy
from rich.console import Console
from rich.table import Table

from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.checkpoint.choice import check_intact, choice_of_rank_zero, last_intact
from lightning_face.checks import check_resumable
from lightning_face.cli import FaceCLI, run
from lightning_face.distributed.agreement import gather_objects, on_every_rank
from lightning_face.distributed.rendezvous import meet, part
from lightning_face.distributed.world import rank, world_size
from lightning_face.doctor.costs import check_tables, checkpoint_bytes
from lightning_face.doctor.datasets import check_people, check_shards
from lightning_face.doctor.finding import Finding, found_by
from lightning_face.doctor.machines import check_clocks, check_devices, check_versions, clocks, own_device
from lightning_face.doctor.network import check_network
from lightning_face.doctor.storage import check_run_folder, check_space
from lightning_face.doctor.tracking import check_wandb
from lightning_face.objectives.config import table_plans

_STYLES = {"ok": "green", "warning": "yellow", "fails": "bold red"}
_WIDTH_OF_LOGS = 140


def main(arguments: list[str]) -> None:
    """Run the command; leaves with code 2 on every rank if a check fails.

    Raises:
        FaceError: options that cannot work, or ranks that do not come together.
    """
    options, of_fit = _parser().parse_known_args(arguments)
    run(["fit", *of_fit], partial(DoctorCLI, options.wait_s))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m lightning_face doctor",
        description="Look on every rank for what would end a run, before it is started; started as `fit` is, under"
        " srun, torchrun or alone. Nothing is trained.\nEvery other argument is one of `fit`: see `fit --help`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: srun python -m lightning_face doctor --config configs/lfw_view1.yaml --run_dir runs/casia",
        allow_abbrev=False,
    )
    parser.add_argument("--wait_s", type=float, default=120.0, help="seconds to wait for all ranks to come together")
    return parser


class DoctorCLI(FaceCLI):
    """Takes the arguments of `fit`, and checks instead of training.

    Args:
        wait_s: seconds to wait for all ranks.
        arguments: see `LightningCLI`.
        options: see `LightningCLI`.
    """

    def __init__(self, wait_s: float, *arguments: Any, **options: Any) -> None:
        self._wait_s = wait_s
        super().__init__(*arguments, **options)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Without what `fit` does to a run's folder."""
        return LightningCLI.instantiate_trainer(self, **{**kwargs, "logger": False})

    def before_fit(self) -> None:
        """As `fit` finds it before ranks are started."""
        self.check_training()

    def fit(self, **kwargs: Any) -> None:
        """Start the ranks as training would; leave with code 2 on every rank if a check fails."""
        launcher = self.trainer.strategy.launcher
        findings = self._examine() if launcher is None else launcher.launch(self._examine, trainer=self.trainer)
        if any(finding.level == "fails" for finding in findings.values()):
            sys.exit(2)

    def _examine(self) -> dict[str, Finding]:
        strategy, started = self.trainer.strategy, time.monotonic()
        assert strategy.accelerator is not None
        strategy.accelerator.setup_device(strategy.root_device)
        if isinstance(strategy, ParallelStrategy):
            self._meet(strategy)
        findings = {"rendezvous": Finding("ok", f"{world_size()} ranks in {time.monotonic() - started:.1f} s")}
        findings |= {name: found_by(check) for name, check in self._checks().items()}
        if rank() == 0:
            _print(findings)
        if isinstance(strategy, ParallelStrategy):
            gather_objects(None)  # a rank that leaves ends the others: not before all is said
            part()
        return findings

    def _meet(self, strategy: ParallelStrategy) -> None:
        strategy.set_world_ranks()  # type: ignore[attr-defined] # of each of our engines
        environment = strategy.cluster_environment
        assert environment is not None
        backend = "nccl" if strategy.root_device.type == "cuda" else "gloo"
        place = (environment.main_address, environment.main_port)
        meet(*place, environment.global_rank(), environment.world_size(), backend=backend, timeout_s=self._wait_s)

    def _checks(self) -> dict[str, Callable[[], Finding]]:
        """In the order in which they are made; every rank makes all of them."""
        data, model, run_dir = self.datamodule, self.model, self.trainer.run_dir
        device, backbone = self.trainer.strategy.root_device, model.backbone
        plans = table_plans(model.objective_config, data.num_classes, backbone.embedding_dim)
        size = checkpoint_bytes(model, model.make_optimizer, plans, data.num_classes)
        gradient = sum(parameter.nbytes for parameter in backbone.parameters())
        sets = {
            "training data": data.faces,
            **{f"verification {name}": of for name, of in data.verification.items()},
            **{f"identification {name}": of for name, of in data.identification.items()},
        }
        return {
            "versions": check_versions,
            "clocks": lambda: check_clocks(clocks()),
            "devices": lambda: check_devices(gather_objects(own_device(device))),
            "network": partial(check_network, device, gradient),
            "class tables": partial(check_tables, plans, data.num_classes, device),
            **{name: partial(check_shards, faces.shards) for name, faces in sets.items()},
            "identities": lambda: check_people(data.faces.class_counts()),
            "run folder": partial(check_run_folder, run_dir),
            "checkpoints": partial(check_space, run_dir, size, self.trainer.callback(Checkpointing).keep),
            "start": self._check_start,
            "W&B": partial(check_wandb, self.config_init["fit"]["wandb"]),
        }

    def _check_start(self) -> Finding:
        """Where `fit` would go on; damaged checkpoints, and options that have changed, end it."""
        self.note_beginning()
        given, run_dir = self.option("ckpt_path"), self.trainer.run_dir
        checkpoint = choice_of_rank_zero(lambda: _chosen(given, run_dir), run_dir)
        if checkpoint is None:
            on_every_rank(self.load_given_weights)
            return Finding("ok", "at step 0")
        step = on_every_rank(partial(check_resumable, self.trainer, self.datamodule, checkpoint))
        return Finding("ok", f"goes on from {checkpoint}, step {step}")


def _chosen(given: str | None, run_dir: Path) -> Path | None:
    if not given:
        return last_intact(run_dir)
    check_intact(Path(given))
    return Path(given)


def _print(findings: dict[str, Finding]) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH_OF_LOGS)
    table = Table(title="doctor", title_justify="left")
    for column in ("check", "", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for name, finding in findings.items():
        level = f"[{_STYLES[finding.level]}]{finding.level}[/]"
        table.add_row(name, level, finding.figure, finding.advice)
    console.print(table)
