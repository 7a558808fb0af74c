"""Arms compared over seeds: means, and paired differences from the arm that each is measured against."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.arms import ARM_FILE, MEASURED_FOLDER, Arm
from lightning_face.callbacks.result import RESULT_FILE
from lightning_face.errors import DataError

Figures = dict[str, float]
"""Of one finished arm, by name: `SET/FIGURE`."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its standard error: deviation with ddof=1, over the root of their number.

    Args:
        mean: of the values.
        std_error: nan for a single value.
        count: of the values.
    """

    mean: float
    std_error: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> "Estimate":
        """Of one value or more."""
        mean = math.fsum(values) / len(values)
        if len(values) == 1:
            return Estimate(mean, math.nan, 1)
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        return Estimate(mean, math.sqrt(variance / len(values)), len(values))

    def shown(self, *, signed: bool = False) -> str:
        """Mean +- standard error; of a single seed the value alone."""
        decimals = 4 if abs(self.mean) < 10 else 2
        mean = f"{self.mean:{'+' if signed else ''}.{decimals}f}"
        return mean if math.isnan(self.std_error) else f"{mean} ± {self.std_error:.{decimals}f}"


@dataclass(frozen=True)
class Comparison:
    """The figures of all arms that are finished.

    Args:
        references: each arm by name, and the arm that it is compared with, or None.
        figures: of each arm, by seed.
    """

    references: Mapping[str, str | None]
    figures: Mapping[str, Mapping[int, Figures]]

    @staticmethod
    def read(out: Path, references: Mapping[str, str | None], apart: Collection[str] = ()) -> "Comparison":
        """From the arms' folders, `OUT/NAME/seed-N`.

        Args:
            out: of the experiment.
            references: see above.
            apart: arms whose loss asks for an order of data of its own.

        Raises:
            DataError: arms of a seed have not seen the same data in the same order.
        """
        arms = {name: _finished(out / name) for name in references}
        _check_same_data({name: arms[name] for name in references if name not in apart})
        return Comparison(
            references, {name: {seed: figures_of(arm.folder) for seed, arm in arms[name].items()} for name in arms}
        )

    def mean(self, arm: str, figure: str) -> Estimate | None:
        """Over the seeds that have the figure."""
        values = [figures[figure] for figures in self.figures[arm].values() if figure in figures]
        return Estimate.of(values) if values else None

    def differences(self, arm: str, figure: str) -> list[float]:
        """Of the arm from its reference, one for each seed that both have."""
        others = self.figures.get(self.references[arm] or "", {})
        return [
            figures[figure] - others[seed][figure]
            for seed, figures in self.figures[arm].items()
            if figure in figures and figure in others.get(seed, {})
        ]

    def names(self, *endings: str) -> list[str]:
        """Figures that some arm has, in the order of the endings that they have."""
        known = {name for seeds in self.figures.values() for figures in seeds.values() for name in figures}
        return [name for ending in endings for name in sorted(known) if name.endswith(ending)]

    def held_out(self, *endings: str) -> list[str]:
        """As `names`, but none of people whom the training set has, measured by class frequency."""
        return [name for name in self.names(*endings) if not name.startswith("known ")]

    def table(self, figures: Sequence[str]) -> str:
        """Markdown: a row for each arm; for each figure the mean, and the paired difference from the reference."""
        titles = [text for figure in figures for text in (figure, "difference")]
        rows = ["| arm | against | seeds | " + " | ".join(titles) + " |", "|---" * (3 + len(titles)) + "|"]
        for arm, reference in self.references.items():
            cells = [text for figure in figures for text in self._cells(arm, figure)]
            rows.append(f"| {arm} | {reference or ''} | {len(self.figures[arm])} | {' | '.join(cells)} |")
        return "\n".join(rows) + "\n"

    def _cells(self, arm: str, figure: str) -> tuple[str, str]:
        mean, differences = self.mean(arm, figure), self.differences(arm, figure)
        difference = Estimate.of(differences).shown(signed=True) if differences else ""
        return mean.shown() if mean else "missing", difference


def figures_of(folder: Path) -> Figures:
    """All numbers of an arm's `result.json`, and of what was kept of it."""
    figures: Figures = {}
    result = json.loads((folder / RESULT_FILE).read_text())
    for kind in ("verification", "identification"):
        figures |= _numbers(result.get(kind, {}))
    for path in sorted((folder / MEASURED_FOLDER).glob("*.json")):
        figures |= _numbers(json.loads(path.read_text()))
    return figures


def _numbers(values: dict[str, Any], prefix: str = "") -> Figures:
    figures: Figures = {}
    for name, value in values.items():
        if isinstance(value, dict):
            figures |= _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            figures[prefix + name] = float(value)
    return figures


def _finished(folder: Path) -> dict[int, Arm]:
    arms: dict[int, Arm] = {}
    for path in sorted(folder.glob(f"seed-*/{ARM_FILE}")):
        arm = Arm(path.parent, path, json.loads(path.read_text())["options"])
        if arm.is_finished:
            arms[int(arm.options["seed_everything"])] = arm
    return dict(sorted(arms.items()))


def _check_same_data(arms: Mapping[str, Mapping[int, Arm]]) -> None:
    """Arms that begin anew have seen the same batches, and so have those that begin with another arm."""
    first: dict[tuple[int, bool], tuple[str, Any]] = {}
    for name, of_seeds in arms.items():
        for seed, arm in of_seeds.items():
            position = arm.checkpoint.position
            kind = seed, "model.init_from" in arm.options
            other, expected = first.setdefault(kind, (name, position))
            if position != expected:
                raise DataError(
                    f"{arm.folder} and {other}, seed {seed}, have not seen the same data in the same order ({position},"
                    f" {expected}): remove one of them, and train it as the other"
                )
