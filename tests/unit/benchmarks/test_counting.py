"""The counters that benchmarks and the tests of growth rely on, against tensors of known size."""

import torch

from benchmarks.counting import LiveMemory


def test_peak_is_of_what_is_alive_at_once() -> None:
    with LiveMemory() as live:
        first = torch.zeros(100)
        second = first + 1.0
        del first
        third = second * 2.0
        del second, third
        torch.zeros(10)
    assert (live.peak, live.largest, live.now) == (800, 400, 0)


def test_views_changes_in_place_and_what_was_there_before_count_nothing() -> None:
    before = torch.zeros(100)
    with LiveMemory() as live:
        before.add_(1.0)
        before.view(10, 10)[2:3].mul_(2.0)
        torch.add(before, 1.0, out=before)
    assert live.peak == 0


def test_backward_is_seen() -> None:
    weights = torch.ones(1000, requires_grad=True)
    with LiveMemory() as live:
        weights.exp().sum().backward()
    assert weights.grad is not None
    assert live.now >= weights.grad.nbytes
    assert live.peak >= 2 * weights.nbytes
    live_before = live.now
    weights.grad = None
    assert live.now == live_before - weights.nbytes
