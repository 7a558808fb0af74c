"""The average against the sum that it stands for, in float64, and refusals."""

import pytest
import torch

from lightning_face.errors import ConfigError
from lightning_face.optim.averaging import check_decay, move_average


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_average_is_the_weighted_sum_of_all_that_was_seen(decay: float) -> None:
    """Each tensor weighs its own share, times what every later step leaves."""
    steps = 40
    seen = torch.randn(steps, 2, 3, generator=torch.Generator().manual_seed(1))
    average, count = torch.full((2, 3), 7.0), torch.tensor(0)
    for step, newest in enumerate(seen):
        move_average([average, count], [newest, torch.tensor(step)], decay, step)
    shares = torch.tensor([max(1 - decay, 10 / (10 + step)) for step in range(steps)], dtype=torch.float64)
    weights = torch.stack([shares[step] * (1 - shares[step + 1 :]).prod() for step in range(steps)])
    assert weights.sum() == pytest.approx(1.0)
    expected = (weights[:, None, None] * seen.double()).sum(dim=0)
    torch.testing.assert_close(average.double(), expected, rtol=1e-6, atol=1e-6)
    assert count == steps - 1


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, float("nan")])
def test_a_decay_that_is_no_share_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match=r"model.average_decay must be above 0 and below 1, got"):
        check_decay(decay)
