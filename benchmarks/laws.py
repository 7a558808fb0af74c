"""What the measurements say about growth, and about the targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import CENTERS, CENTERS_MML, CLASSIFIER, MML_VS_ALL, OWN
from benchmarks.measuring import Measurement

_BYTES_PER_CLASS = {CLASSIFIER: 4200, CENTERS: 2100}
_OVER_DENSE = {CLASSIFIER: 1.25, CENTERS_MML: 0.01, MML_VS_ALL: 0.5}
_LARGE = 100_000
"""Classes from which on time is promised: `auto` keeps smaller tables replicated."""


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
    """Step time over C / W, bytes exchanged and peak memory over C at the largest W, of cases with several sizes."""
    found: dict[str, Line] = {}
    most_ranks = max(m.num_ranks for m in measurements)
    for name in OWN:
        own = [m for m in measurements if m.name == name]
        if len({m.num_classes for m in own}) > 1:
            per_rank = [m.num_classes / m.num_ranks for m in own]
            found[f"{name}: s over C / W"] = fit(per_rank, [m.fastest_seconds for m in own])
        spread = [m for m in own if m.num_ranks == most_ranks]
        if len(spread) > 1:
            classes = [m.num_classes for m in spread]
            found[f"{name}: bytes in a step over C"] = fit(classes, [m.peak_bytes for m in spread])
            if most_ranks > 1:
                found[f"{name}: bytes exchanged over C"] = fit(classes, [m.exchanged_bytes for m in spread])
    return found


def targets(measurements: Sequence[Measurement]) -> list[Target]:
    """What the measurements say about the targets: of memory at the largest size, of time where tables are large."""
    largest = max(m.num_classes for m in measurements)
    found = []
    for m in measurements:
        per_class = m.held_bytes * m.num_ranks / m.num_classes
        if m.name in OWN and m.num_classes == largest:
            found.append(Target(f"{m.name}: MB in a step", m, m.peak_bytes / 1e6, 128))
            if m.name in _BYTES_PER_CLASS:
                found.append(Target(f"{m.name}: bytes per class / W", m, per_class, _BYTES_PER_CLASS[m.name]))
        # The dense step has all cores. What walks over the table has them on several ranks; centers + MML is so short
        # that there it is mostly the wait for gloo.
        has_its_cores = m.num_ranks > 1 or m.name == CENTERS_MML
        if m.name in _OVER_DENSE and m.num_classes >= _LARGE and has_its_cores and m.over_dense is not None:
            found.append(Target(f"{m.name}: time over dense", m, m.over_dense, _OVER_DENSE[m.name]))
    return found
