"""A changed sign or constant in a loss is noticed by its quick comparison with the loops."""

from collections.abc import Callable
from types import ModuleType

import pytest

from lightning_face import directions
from lightning_face.losses import (
    at_once,
    center,
    chunked,
    contrastive,
    hardest,
    marginal,
    minimum_margin,
    pair_tiles,
    pairs,
    range_loss,
    reductions,
    scoring,
    softmax,
    triplet,
)
from tests.mutants import survivors
from tests.unit import test_directions
from tests.unit.losses import (
    test_at_once,
    test_center,
    test_chunked,
    test_contrastive,
    test_hardest,
    test_marginal,
    test_minimum_margin,
    test_pairs,
    test_range_loss,
    test_reductions,
    test_scoring,
    test_softmax,
    test_triplet,
)

CHECKS = {
    at_once: test_at_once.check,
    center: test_center.check,
    chunked: test_chunked.check,
    contrastive: test_contrastive.check,
    directions: test_directions.check,
    hardest: test_hardest.check,
    marginal: test_marginal.check,
    minimum_margin: test_minimum_margin.check,
    pair_tiles: test_minimum_margin.check_tiles,
    pairs: test_pairs.check,
    range_loss: test_range_loss.check,
    reductions: test_reductions.check,
    scoring: test_scoring.check,
    softmax: test_softmax.check,
    triplet: test_triplet.check,
}

EQUIVALENT = {
    hardest: {
        # Any number below -1 keeps other classes out.
        "of_class_AM = squares_AM.masked_fill(~is_same_AM, -2.0).scatter_(1, anchors_A.unsqueeze(1), -1.0): 2.0 -> 3.0",
    },
    pairs: {
        # The size of tiles, which changes no result.
        "size = rows_at_once(others_GD.numel(), 1, others_GD.device)  # each has that many differences: 1 -> 2",
        # Any number but 0 may stand where the root is masked after.
        "return squares.masked_fill(is_zero, 1.0).sqrt().masked_fill(is_zero, 0.0): 1.0 -> 2.0",
    },
    range_loss: {
        # Any number but 0 may stand where the smallest distance, a factor of the result, is 0.
        "ratios_RK = smallest_R1.masked_fill(is_zero_R1, 1.0) / largest_RK.masked_fill(is_zero_R1, 1.0): 1.0 -> 2.0",
    },
}
"""Changes that compute the same, and why; each must really survive."""


@pytest.mark.parametrize("module", CHECKS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_change_is_noticed(module: ModuleType) -> None:
    check: Callable[[ModuleType], None] = CHECKS[module]
    assert set(survivors(module, check)) == EQUIVALENT.get(module, set())
