"""A short `make chaos`, and that its verdict can be against a run."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import chaos
from tests.chaos.events import KINDS, draw
from tests.chaos.report import picture, table
from tests.chaos.run import Attempt, ChaosError
from tests.chaos.verdict import check_costs, check_samples, costs

SEED = 20
"""A full disk and a damaged checkpoint; where ranks change, a signal in a save and a job killed while it starts."""

EVENT = draw(1, 0, num_ranks=2, most_steps=9)
PLAN = {step: [2 * step, 2 * step + 1] for step in range(6)}


def attempt(*steps: int, is_last: bool = False, shift: int = 0, at: float = 0.0, code: int = -9) -> Attempt:
    trained = [(step, at + step, [sample + shift for sample in PLAN.get(step, [])]) for step in steps]
    return Attempt(None if is_last else EVENT, 0 if is_last else code, trained)


@pytest.mark.timeout(900)
def test_struck_runs_end_as_if_nothing_had_happened(generated: Path, tmp_path: Path) -> None:
    runs = chaos(tmp_path, generated, seed=SEED, num_events=2, tell=print)
    rows = [line.split(" | ") for line in table(runs).splitlines()[2:]]
    kinds = ["checkpoint damaged", "disk full", "job killed", "rank signalled", "all"]
    assert [row[0].removeprefix("| ") for row in rows] == kinds
    # A job that is killed while it starts has made no step.
    assert [row[4] for row in rows[1:-1]] == ["0", "", "0"] and int(rows[0][4]) > 0
    assert [len(axes.lines) for axes in picture(runs).axes] == 2 * [2 * 3]  # a dot and a median; the start cost nothing


def test_events_take_turns_and_are_the_same_for_the_same_seed() -> None:
    events = [draw(1, number, num_ranks=3, most_steps=5) for number in range(70)]
    assert events == [draw(1, number, num_ranks=3, most_steps=5) for number in range(70)]
    assert [sum(event.kind == kind for event in events) for kind in KINDS] == [10] * len(KINDS)
    assert {event.moment for event in events} == {"start", "step", "save", "validation"}
    assert {event.rank for event in events} == {0, 1, 2} and {event.step for event in events} == {1, 2, 3, 4, 5}


def test_samples_as_planned_pass() -> None:
    attempts = [attempt(0, 1, 2), attempt(), attempt(1, 2, 3, at=10.0), attempt(4, 5, is_last=True, at=20.0)]
    check_samples(PLAN, attempts)
    assert [(cost.steps_lost, cost.seconds_to_resume) for cost in costs(attempts)] == [(2, 9.0), (0, 11.0)]


@pytest.mark.parametrize(
    "attempts",
    [
        pytest.param([attempt(0, 1), attempt(3, 4, 5, is_last=True)], id="gap between attempts"),
        pytest.param([attempt(0, 2, 3), attempt(4, 5, is_last=True)], id="gap in an attempt"),
        pytest.param([attempt(0, 1, shift=1), attempt(2, 3, 4, 5, is_last=True)], id="other samples"),
        pytest.param([attempt(0, 1), attempt(2, 3, 4, is_last=True)], id="ends early"),
        pytest.param([attempt(0, 1, 2, 3, 4, 5)], id="never left alone"),
    ],
)
def test_anything_else_does_not(attempts: list[Attempt]) -> None:
    with pytest.raises(ChaosError):
        check_samples(PLAN, attempts)


def test_steps_may_be_lost_since_the_last_checkpoint_and_none_by_a_signal() -> None:
    again = attempt(*range(2, 20), is_last=True)
    check_costs([attempt(*range(12)), again])
    check_costs([attempt(0, 1, code=75), again])
    for attempts in ([attempt(*range(13)), again], [attempt(0, 1, 2, code=75), again]):
        with pytest.raises(ChaosError, match="steps were lost"):
            check_costs(attempts)
