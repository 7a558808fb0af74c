"""Whether a run that was struck has done what it would have done undisturbed, and what the blows have cost."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.chaos.run import Attempt, ChaosError

Plan = dict[int, list[int]]
"""Samples of each optimizer step."""


@dataclass(frozen=True)
class Cost:
    """What an event has cost.

    Args:
        kind: of the event.
        steps_lost: that had been made and were made again.
        seconds_to_resume: from the last step before the event to the first one after it.
    """

    kind: str
    steps_lost: int
    seconds_to_resume: float


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


def costs(attempts: Sequence[Attempt]) -> list[Cost]:
    """Of each event after which a step was made; of several before it, the first has cost it all."""
    found: list[Cost] = []
    struck: Attempt | None = None
    for attempt in attempts:
        if struck is not None and attempt.trained:
            assert struck.event is not None
            (first, resumed_at, _), (last, stopped_at, _) = attempt.trained[0], struck.trained[-1]
            found.append(Cost(struck.event.kind, last + 1 - first, resumed_at - stopped_at))
        if attempt.trained:
            struck = attempt
    return found


def table(runs: Sequence[Sequence[Attempt]]) -> str:
    """Events of all runs by kind, what they ended with and what they cost, in Markdown."""
    attempts = [attempt for run in runs for attempt in run]
    by_kind: dict[str, list[Cost]] = defaultdict(list)
    for cost in (cost for run in runs for cost in costs(run)):
        by_kind[cost.kind].append(cost)
    lines = [
        "| event | times | exit codes | steps lost, median | most | seconds to resume, median | most |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    for kind in sorted({attempt.event.kind for attempt in attempts if attempt.event is not None}):
        codes = [attempt.code for attempt in attempts if attempt.event is not None and attempt.event.kind == kind]
        lost = [cost.steps_lost for cost in by_kind[kind]] or [0]
        seconds = [cost.seconds_to_resume for cost in by_kind[kind]] or [0.0]
        lines.append(
            f"| {kind} | {len(codes)} | {', '.join(map(str, sorted(set(codes))))} | {median(lost):.0f} | {max(lost)} |"
            f" {median(seconds):.1f} | {max(seconds):.1f} |"
        )
    return "\n".join(lines)
