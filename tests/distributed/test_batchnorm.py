"""BatchNorm running statistics are the ranks' mean, with the same bits everywhere."""

import pytest
import torch
from torch import Tensor, nn

from lightning_face.distributed.batchnorm import average_batchnorm_statistics
from lightning_face.distributed.world import rank
from tests.oracle import assert_close
from tests.ranks import run_ranks


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 17, 3),
        nn.BatchNorm2d(17),
        nn.BatchNorm2d(17, track_running_stats=False),
        nn.Flatten(),
        nn.BatchNorm1d(17 * 4),
    )


def trained_on_own_images(average: bool) -> dict[str, Tensor]:
    network = make_network()
    network(torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(rank())) * (1 + rank()))
    if average:
        average_batchnorm_statistics(network)
    return network.state_dict()


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_statistics_are_the_mean_over_ranks_bit_for_bit_alike(num_ranks: int) -> None:
    before = run_ranks(trained_on_own_images, num_ranks, False)
    after = run_ranks(trained_on_own_images, num_ranks, True)
    for name, value in after[0].items():
        assert all(torch.equal(state[name], value) for state in after)
        if value.is_floating_point():
            assert_close(value, torch.stack([state[name].double() for state in before]).mean(0))


def no_statistics() -> dict[str, Tensor]:
    network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    average_batchnorm_statistics(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    return before


def test_network_without_batchnorm_is_left_alone() -> None:
    run_ranks(no_statistics, 2)
