"""Schedules: properties over all options, LambdaLR, and refusals."""

import io
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from lightning_face.errors import ConfigError
from lightning_face.optim.schedules import Decay, Schedule, milestone_step

smooth_decays: st.SearchStrategy[Decay] = st.sampled_from(["cosine", "polynomial"])
warmups = st.integers(0, 50)
lengths = st.integers(1, 200)  # steps after the warm-up
final_factors = st.floats(0.0, 1.0)


def smooth(decay: Decay, warmup: int, final: float, power: float) -> Schedule:
    return Schedule(decay=decay, warmup_steps=warmup, final_factor=final, power=power if decay == "polynomial" else 1.0)


@given(smooth_decays, warmups, lengths, final_factors, st.floats(0.5, 3.0))
def test_warmup_is_a_straight_line_up_to_one(
    decay: Decay, warmup: int, length: int, final: float, power: float
) -> None:
    schedule = smooth(decay, warmup, final, power)
    ramp = [schedule.factor(step, total_steps=warmup + length) for step in range(warmup + 1)]
    assert ramp[-1] == pytest.approx(1.0)  # no jump where the decay takes over
    assert 0.0 < ramp[0] <= 1.0
    for before, after in pairwise(ramp):
        assert after - before == pytest.approx(1.0 / (warmup + 1))


@given(smooth_decays, warmups, lengths, final_factors, st.floats(0.5, 3.0))
def test_decay_never_rises_and_ends_at_the_final_factor(
    decay: Decay, warmup: int, length: int, final: float, power: float
) -> None:
    schedule = smooth(decay, warmup, final, power)
    total = warmup + length
    factors = [schedule.factor(step, total_steps=total) for step in range(warmup, total + 3)]
    assert all(after <= before + 1e-12 for before, after in pairwise(factors))
    assert factors[-3] == factors[-2] == factors[-1] == pytest.approx(final, abs=1e-12)


@given(
    st.lists(st.floats(0.05, 0.95), min_size=1, max_size=4, unique=True), st.floats(0.01, 0.9), st.integers(100, 1000)
)
def test_step_has_plateaus(milestones: list[float], gamma: float, total: int) -> None:
    schedule = Schedule(decay="step", milestones=tuple(sorted(milestones)), gamma=gamma)
    borders = [0, *(milestone_step(fraction, total) for fraction in sorted(milestones)), total]
    for drops, (first, end) in enumerate(pairwise(borders)):
        for step in {first, (first + end) // 2, end - 1} if end > first else set():
            assert schedule.factor(step, total_steps=total) == pytest.approx(gamma**drops)


@given(warmups, lengths)
def test_constant_stays_at_one(warmup: int, length: int) -> None:
    schedule = Schedule(decay="constant", warmup_steps=warmup)
    assert all(schedule.factor(step, total_steps=warmup + length) == 1.0 for step in range(warmup, warmup + length + 2))


def test_known_values() -> None:
    cosine = Schedule(decay="cosine", warmup_steps=2)
    values = [cosine.factor(step, total_steps=6) for step in range(7)]
    assert values == pytest.approx([1 / 3, 2 / 3, 1.0, 0.5 + 0.5 * 0.5**0.5, 0.5, 0.5 - 0.5 * 0.5**0.5, 0.0])
    squared = Schedule(decay="polynomial", power=2.0)
    assert [squared.factor(step, total_steps=4) for step in range(5)] == pytest.approx([1, 9 / 16, 1 / 4, 1 / 16, 0])


def test_milestone_is_not_late_by_rounding() -> None:
    assert 0.07 * 100 > 7.0  # so that step 7 would still miss it
    schedule = Schedule(decay="step", milestones=(0.07,))
    assert [schedule.factor(step, total_steps=100) for step in (6, 7)] == pytest.approx([1.0, 0.1])


def test_build_moves_every_group_and_saves_nothing_of_its_own() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 1.0}, {"params": weights[1:], "lr": 0.1}])
    scheduler = Schedule(warmup_steps=3).build(optimizer, 10)
    schedule = Schedule(warmup_steps=3)
    for step in range(10):
        expected = schedule.factor(step, total_steps=10)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected, 0.1 * expected])
        optimizer.step()
        scheduler.step()
    buffer = io.BytesIO()
    torch.save(scheduler.state_dict(), buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True)["last_epoch"] == 10


def test_from_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--schedule", type=Schedule)
    text = '{"decay": "step", "milestones": [0.5, 0.75], "gamma": 0.2, "warmup_steps": 5}'
    config = parser.instantiate(parser.parse_args([f"--schedule={text}"]))
    assert config.schedule == Schedule(decay="step", milestones=(0.5, 0.75), gamma=0.2, warmup_steps=5)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"decay": "linear"}, "schedule.decay must be one of cosine, polynomial, step, constant, got 'linear'"),
        ({"warmup_steps": -1}, "schedule.warmup_steps must be at least 0, got -1"),
        ({"decay": "step"}, "schedule.milestones must be given"),
        ({"decay": "step", "milestones": (0.9, 0.5)}, "schedule.milestones must be increasing"),
        ({"decay": "step", "milestones": (0.5, 1.0)}, r"in \(0, 1\), got \(0.5, 1.0\)"),
        ({"decay": "step", "milestones": (0.5,), "gamma": 1.0}, r"schedule.gamma must be in \(0, 1\), got 1.0"),
        ({"decay": "polynomial", "power": 0.0}, "schedule.power must be positive, got 0.0"),
        ({"final_factor": 1.5}, r"schedule.final_factor must be in \[0, 1\], got 1.5"),
        ({"final_factor": float("nan")}, "schedule.final_factor must be"),
        ({"milestones": (0.5,)}, "schedule.milestones has no effect with decay cosine, .* use decay step"),
        ({"decay": "constant", "final_factor": 0.1}, "no effect with decay constant.* cosine or polynomial"),
    ],
)
def test_bad_option(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        Schedule(**options)


@pytest.mark.parametrize(
    ("schedule", "total_steps", "rule"),
    [
        (Schedule(warmup_steps=10), 10, "schedule.warmup_steps must be below 10, .* got 10: shorten"),
        (Schedule(decay="step", milestones=(0.1,), warmup_steps=20), 100, "must be below 10, the first milestone"),
        (Schedule(), 0, "total_steps must be at least 1"),
    ],
)
def test_run_too_short(schedule: Schedule, total_steps: int, rule: str) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ConfigError, match=rule):
        schedule.build(optimizer, total_steps)
