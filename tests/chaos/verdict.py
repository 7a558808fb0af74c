"""Whether a run that was struck has done what it would have done undisturbed, and what the blows have cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_face.errors import PreemptedError
from tests.chaos.events import EVERY_N_STEPS
from tests.chaos.run import Attempt, ChaosError

Plan = dict[int, list[int]]
"""Samples of each optimizer step."""


@dataclass(frozen=True)
class Cost:
    """What an event has cost.

    Args:
        attempt: that was struck.
        steps_lost: that had been made and were made again.
        seconds_to_resume: from the last step before the event to the first one after it.
    """

    attempt: Attempt
    steps_lost: int
    seconds_to_resume: float

    @property
    def kind(self) -> str:
        """Of the event."""
        assert self.attempt.event is not None
        return self.attempt.event.kind


def check_samples(plan: Plan, attempts: Sequence[Attempt]) -> None:
    """Compare what was trained with what was planned.

    Raises:
        ChaosError: a step was left out, or made with other samples, in some attempt.
    """
    reached = -1
    for attempt in attempts:
        steps = [step for step, _, _ in attempt.trained]
        if steps and (steps[0] > reached + 1 or steps != list(range(steps[0], steps[-1] + 1))):
            raise ChaosError(f"{attempt.event}: steps {steps} follow step {reached}")
        for step, _, samples in attempt.trained:
            if samples != plan[step]:
                raise ChaosError(f"{attempt.event}: step {step} was made of {samples}, planned were {plan[step]}")
        reached = max([reached, *steps])
    last = [step for step, _, _ in attempts[-1].trained]
    if attempts[-1].event is not None or reached != max(plan) or last[-1:] not in ([], [max(plan)]):
        raise ChaosError(f"the run has ended at step {reached}, planned was {max(plan)}")


def check_costs(attempts: Sequence[Attempt]) -> None:
    """Compare the steps that were lost with what docs/reliability.md promises.

    Raises:
        ChaosError: a step was lost though all was saved, or more than the work since the last checkpoint, beside which
            another one may have been under way.
    """
    for cost in costs(attempts):
        at_most = 0 if cost.attempt.code == PreemptedError.exit_code else 2 * EVERY_N_STEPS
        if cost.steps_lost > at_most and cost.kind != "checkpoint damaged":
            raise ChaosError(f"{cost.attempt.event}: {cost.steps_lost} steps were lost")


def costs(attempts: Sequence[Attempt]) -> list[Cost]:
    """Of each event after which a step was made; of several before it, the first has cost it all."""
    found: list[Cost] = []
    struck: Attempt | None = None
    for attempt in attempts:
        if struck is not None and attempt.trained:
            (first, resumed_at, _), (last, stopped_at, _) = attempt.trained[0], struck.trained[-1]
            found.append(Cost(struck, last + 1 - first, resumed_at - stopped_at))
        if attempt.trained:
            struck = attempt
    return found
