"""The arms of the experiments on faces: trained anew, or from a finished center model on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.arms import TRAIN_FOLDER, Arm, options_of_data
from experiments.center_model import CenterModel
from experiments.command import CONFIGS, carry_out, make_parser
from experiments.known import figures_by_frequency, nearest_by_class
from experiments.margin_rule import constants
from lightning_face.callbacks.plots import read_series
from lightning_face.errors import DataError
from lightning_face.loggers import METRICS_FILE

Measures = dict[str, Callable[[Arm], dict[str, Any]]]

KNOWN_FOLDER = "known"
_LAST_ROWS = 10

LEARNING_RATE_AFTER = 5e-4
"""Where arms that begin with a finished model start: a quarter of the configs' rate, which would undo much of it."""


@dataclass(frozen=True)
class FaceArms:
    """Makes arms that differ in nothing but name, seed and the options given.

    Args:
        data: folder with `train` and sets to test on; with a `known` one, figures by class frequency are measured.
        out: of the experiment.
        config: of all arms.
        epochs: of those that begin anew.
        further_epochs: of those that begin with a finished model.
    """

    data: Path
    out: Path
    config: Path
    epochs: int
    further_epochs: int

    @property
    def train(self) -> Path:
        """The training set."""
        return self.data / TRAIN_FOLDER

    def anew(self, name: str, seed: int, options: Mapping[str, Any]) -> Arm:
        """An arm that begins with random weights."""
        return self._arm(name, seed, {"trainer.max_epochs": self.epochs, **options})

    def after(
        self, center: Arm, name: str, seed: int, options: Mapping[str, Any], measures: Measures | None = None
    ) -> Arm:
        """An arm that begins with the network, classifier and centers of a finished one; more options over its own."""
        beginning = {
            "model.init_from": str(center.network),
            "trainer.max_epochs": self.further_epochs,
            "model.optimizer.init_args.lr": LEARNING_RATE_AFTER,
        }
        return self._arm(name, seed, {**center.options, **beginning, **options}, measures)

    def measured(self, center: Arm) -> CenterModel:
        """What `margin_rule` asks of a finished center model."""
        return CenterModel.of(center.network, center.checkpoint, self.train)

    def rule(self, center: Arm, *, beyond_batch: bool = False) -> tuple[float, float]:
        """Margin and weight of MML by `margin_rule`, kept with the finished center model.

        Args:
            center: the model.
            beyond_batch: whether the weight is for scope `batch_vs_all`.

        Raises:
            DataError: the model is not finished.
        """
        if not center.network.is_file():
            raise DataError(f"{center.folder} is not finished, and MML begins with it: finish arm {center.name} first")
        name = "rule_vs_all" if beyond_batch else "rule"

        def measured(arm: Arm) -> dict[str, float]:
            margin, weight = constants(self.measured(arm), beyond_batch=beyond_batch)
            return {f"{name} margin": margin, f"{name} weight": weight}

        kept = center.kept(name, measured)
        return kept[f"{name} margin"], kept[f"{name} weight"]

    def _arm(self, name: str, seed: int, options: Mapping[str, Any], measures: Measures | None = None) -> Arm:
        known = self.data / KNOWN_FOLDER
        everywhere: Measures = {
            "last_loss": last_loss, "nearest": lambda arm: nearest_by_class(arm.network, self.train)
        }  # fmt: skip
        if known.is_dir():
            everywhere["known"] = lambda arm: figures_by_frequency(arm.network, self.train, known)
        shared = {"seed_everything": seed, **options_of_data(self.data)}
        # Losses without class tables have nothing to identify by: known people are measured by features.
        shared.pop("data.identification", None)
        folder = self.out / name / f"seed-{seed}"
        return Arm(folder, self.config, {**shared, **options}, {**everywhere, **(measures or {})})


def last_loss(arm: Arm) -> dict[str, float]:
    """The loss and its terms at the end of training: means of the last rows of its log."""
    last = {name: values[-_LAST_ROWS:] for name, values in read_series(arm.folder / METRICS_FILE)[1].items()}
    return {f"last {name}": float(np.nanmean(rows)) for name, rows in last.items() if np.isfinite(rows).any()}


def mml(margin: float, weight: float, **others: Any) -> dict[str, Any]:
    """Options that add MML to those of a center model."""
    return {"model.objective.mml": {"margin": margin, "weight": weight, **others}}


def compare(
    description: str | None,
    config: str,
    data: str,
    arms_of: Callable[[FaceArms, int], Iterator[Arm]],
    report: Callable[[Path], None],
    arguments: Sequence[str] | None,
) -> None:
    """The command of an experiment with arms that begin anew and arms that begin with a finished model.

    Args:
        description: of the experiment, a module's docstring.
        config: file in `configs/experiments` that its arms share by default.
        data: what DATA is.
        arms_of: the arms of a seed; each is finished before the next is asked for.
        report: writes tables and plots of the arms that are finished to a folder.
        arguments: of the command line; those of the process by default.
    """
    parser = make_parser(description, CONFIGS / "experiments" / config, data)
    parser.add_argument("--epochs", type=int, default=20, help="of arms that begin anew (default: %(default)s)")
    parser.add_argument(
        "--further-epochs", type=int, default=6, help="of arms that begin with the center model (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    faces = FaceArms(options.data, options.out, options.config, options.epochs, options.further_epochs)
    carry_out(partial(arms_of, faces), options, report)
