"""Learning-rate schedules as pure functions of the step: nothing to save, exact on resume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_face.errors import ConfigError

Decay = Literal["cosine", "polynomial", "step", "constant"]

_DECAYS_USING = {
    "milestones": ("step",),
    "gamma": ("step",),
    "power": ("polynomial",),
    "final_factor": ("cosine", "polynomial"),
}


def learning_rate_factor(
    step: int,
    *,
    total_steps: int,
    warmup_steps: int,
    decay: Decay,
    milestones: Sequence[float],
    gamma: float,
    power: float,
    final_factor: float,
) -> float:
    """What the base learning rate is multiplied by at an optimizer step.

    Args:
        step: number of optimizer steps already taken; the last one of a run uses `total_steps - 1`, and from
            `total_steps` on the factor stays.
        total_steps: optimizer steps of the whole run.
        warmup_steps: steps of a straight line from 1 / (warmup_steps + 1) at step 0, so that no step is wasted on a
            rate of zero, to 1 at step `warmup_steps`, where the decay starts.
        decay: `cosine` and `polynomial` fall from 1 to `final_factor` at `total_steps`; `step` multiplies by `gamma` at
            each milestone; `constant` stays at 1.
        milestones: fractions of `total_steps`, rounded to whole steps.
        gamma: factor of `step`.
        power: exponent of `polynomial`; 1 is a straight line.
        final_factor: factor at `total_steps`.

    Source: cosine, Loshchilov and Hutter, arXiv 1608.03983, equation 5 without restarts; warm-up, Goyal et al.,
        arXiv 1706.02677, section 2.2.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if decay == "constant":
        return 1.0
    if decay == "step":
        return gamma ** sum(step >= milestone_step(fraction, total_steps) for fraction in milestones)
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    remaining = 0.5 * (1.0 + math.cos(math.pi * progress)) if decay == "cosine" else (1.0 - progress) ** power
    return final_factor + (1.0 - final_factor) * remaining


def milestone_step(fraction: float, total_steps: int) -> int:
    """The step of a milestone; rounded, since 0.7 * 10 is a little more than 7 in floating point."""
    return round(fraction * total_steps)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate moves over the run, in optimizer steps; see `learning_rate_factor`.

    Args:
        decay: cosine, polynomial, step or constant, after the warm-up.
        warmup_steps: steps of linear warm-up; 0 for none.
        milestones: for step: where the rate drops, as fractions of the run in (0, 1), increasing.
        gamma: for step: what the rate is multiplied by at each milestone, in (0, 1).
        power: for polynomial: its exponent, positive; 1 is a straight line.
        final_factor: for cosine and polynomial: the rate at the end over the base rate, in [0, 1].

    Raises:
        ConfigError: a value out of its range, or an option that the decay does not use.
    """

    decay: Decay = "cosine"
    warmup_steps: int = 0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    power: float = 1.0
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        if self.decay not in get_args(Decay):
            raise ConfigError(f"schedule.decay must be one of {', '.join(get_args(Decay))}, got {self.decay!r}")
        self._check_unused()
        self._check_ranges()

    def _check_unused(self) -> None:
        for field in fields(self):
            users = _DECAYS_USING.get(field.name, get_args(Decay))
            value = getattr(self, field.name)
            if self.decay not in users and value != field.default:
                raise ConfigError(
                    f"schedule.{field.name} has no effect with decay {self.decay}, got {value}: "
                    f"leave it out, or use decay {' or '.join(users)}"
                )

    def _check_ranges(self) -> None:
        increasing = all(a < b for a, b in zip((0.0, *self.milestones), (*self.milestones, 1.0), strict=True))
        rules = (
            ("warmup_steps", self.warmup_steps >= 0, "at least 0"),
            ("milestones", increasing, "increasing fractions in (0, 1)"),
            ("milestones", bool(self.milestones) or self.decay != "step", "given for decay step, such as [0.5, 0.75]"),
            ("gamma", 0.0 < self.gamma < 1.0, "in (0, 1)"),
            ("power", 0.0 < self.power < math.inf, "positive"),
            ("final_factor", 0.0 <= self.final_factor <= 1.0, "in [0, 1]"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ConfigError(f"schedule.{name} must be {rule}, got {getattr(self, name)}")

    def factor(self, step: int, *, total_steps: int) -> float:
        """`learning_rate_factor` with these options."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return learning_rate_factor(step, total_steps=total_steps, **options)

    def build(self, optimizer: Optimizer, total_steps: int) -> LambdaLR:
        """A scheduler to be stepped after each optimizer step.

        Raises:
            ConfigError: the run has no steps, is too short for the warm-up, or a milestone falls into the warm-up.
        """
        if total_steps < 1:
            raise ConfigError(f"total_steps must be at least 1 for a schedule, got {total_steps}: limit the run")
        first_drop = min((milestone_step(fraction, total_steps) for fraction in self.milestones), default=total_steps)
        if not self.warmup_steps < first_drop:
            raise ConfigError(
                f"schedule.warmup_steps must be below {first_drop}, the first milestone or the end of the run, "
                f"got {self.warmup_steps}: shorten the warm-up or train longer"
            )
        return LambdaLR(optimizer, lambda step: self.factor(step, total_steps=total_steps))
