"""What the measurements say about growth, and about the targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import CENTERS, CENTERS_MML, CLASSIFIER, OWN
from benchmarks.measuring import Measurement


@dataclass(frozen=True)
class Line:
    """A least-squares line y = start + slope * x.

    Args:
        explained: share of the variance of y that it explains, R squared; 1 where y does not vary.
    """

    start: float
    slope: float
    explained: float


@dataclass(frozen=True)
class Target:
    """A promise about cost, as `measurement` has it.

    Args:
        name: what is promised, with its unit.
        measurement: what it was measured in.
        value: what was measured.
        limit: the most it may be.
    """

    name: str
    measurement: Measurement
    value: float
    limit: float

    @property
    def is_met(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.limit


def fit(x: Sequence[float], y: Sequence[float]) -> Line:
    """The line through points of at least two different x."""
    slope, start = np.polyfit(x, y, 1)
    spread = float(np.var(y))
    rest = float(np.var(np.asarray(y) - start - slope * np.asarray(x)))
    return Line(float(start), float(slope), 1.0 if spread == 0.0 else 1.0 - rest / spread)


def laws(measurements: Sequence[Measurement]) -> dict[str, Line]:
    """Step time over C / W, and bytes exchanged over C at the largest W, of each case with two sizes or more."""
    found: dict[str, Line] = {}
    most_ranks = max(m.num_ranks for m in measurements)
    for name in OWN:
        own = [m for m in measurements if m.name == name]
        per_rank = [m.num_classes / m.num_ranks for m in own]
        if len(set(per_rank)) > 1:
            found[f"{name}: s over C / W"] = fit(per_rank, [m.fastest_seconds for m in own])
        spread = [m for m in own if m.num_ranks == most_ranks > 1]
        if len(spread) > 1:
            exchanged = [m.exchanged_bytes for m in spread]
            found[f"{name}: bytes exchanged over C"] = fit([m.num_classes for m in spread], exchanged)
    return found


def targets(measurements: Sequence[Measurement]) -> list[Target]:
    """What the largest size says about the project's targets, with one rank and with most."""
    largest = max(m.num_classes for m in measurements)
    found = []
    for m in measurements:
        if m.num_classes < largest or m.name not in OWN:
            continue
        per_class = m.held_bytes * m.num_ranks / m.num_classes
        if m.name == CLASSIFIER:
            found.append(Target("classifier: MB in a step", m, m.peak_bytes / 1e6, 128))
            found.append(Target("classifier: bytes per class / W", m, per_class, 4200))
        if m.name == CENTERS:
            found.append(Target("centers: bytes per class / W", m, per_class, 2100))
        limit = {CLASSIFIER: 1.25, CENTERS_MML: 0.01}.get(m.name)
        if limit is not None and m.over_dense is not None and m.num_ranks > 1:
            found.append(Target(f"{m.name}: time over dense", m, m.over_dense, limit))
    return found
