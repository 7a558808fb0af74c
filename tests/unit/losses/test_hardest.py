"""The hardest triplets of a set against loops over all samples."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from lightning_face.losses import hardest, hardest_triplets
from tests import pair_oracles
from tests.oracle import assert_close
from tests.unit.losses.pair_examples import LABELS, example

# Shapes of names: see losses/hardest.py.


def assert_hardest(module: ModuleType, features_MD: Tensor, labels: list[int], anchors: list[int]) -> None:
    """Places and squared distances are those of the loops."""
    expected = pair_oracles.hardest(features_MD.double(), labels, anchors)
    triplets_A3, squares_A2 = module.hardest_triplets(features_MD, torch.tensor(labels), torch.tensor(anchors))
    assert triplets_A3.tolist() == [list(triplet) for triplet in expected]
    rows_MD = features_MD.double()
    others = [[pair_oracles.square(rows_MD[a], rows_MD[other]) for other in (p, n)] for a, p, n in expected]
    assert_close(squares_A2, torch.tensor(others))


def check(module: ModuleType) -> None:
    features, _ = example(torch.float32)
    assert_hardest(module, features.detach(), LABELS, list(range(len(LABELS))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("anchors", [list(range(60)), [3, 59, 0, 3]], ids=["all", "some"])
def test_equals_the_loops(dtype: torch.dtype, anchors: list[int]) -> None:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(60, 8, generator=generator, dtype=dtype)
    labels = torch.randint(0, 20, (60,), generator=generator).tolist()
    assert_hardest(hardest, features, labels, anchors)


def test_of_several_as_far_the_first_is_taken() -> None:
    """Whole numbers, whose mean is one: no rounding tells equals apart."""
    features = torch.tensor([[0.0], [2.0], [-2.0], [0.0], [1.0], [-1.0], [1.0], [-1.0]])
    assert_hardest(hardest, features, [0, 0, 0, 0, 1, 1, 2, 2], list(range(8)))


def test_copies_of_an_image_are_positives_of_one_another() -> None:
    triplets, squares = hardest_triplets(
        torch.tensor([[1.0], [1.0], [4.0], [4.0]]), torch.tensor([3, 3, 5, 5]), torch.arange(4)
    )
    assert triplets.tolist() == [[0, 1, 2], [1, 0, 2], [2, 3, 0], [3, 2, 0]]
    assert squares.tolist() == [[0.0, 9.0]] * 4


def test_large_norms_cost_no_digits() -> None:
    features = 1000.0 + torch.tensor([[0.00], [0.02], [0.01], [0.03]])
    assert_hardest(hardest, features, [0, 0, 1, 1], [0, 1, 2, 3])
