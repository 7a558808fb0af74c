"""How much is worked on at once."""

import pytest
import torch

from lightning_face.losses.at_once import rows_at_once

MEGABYTES = 2**20 // 4  # as float32 numbers


@pytest.mark.parametrize(("kind", "budget"), [("cpu", 4 * MEGABYTES), ("cuda", 16 * MEGABYTES)])
def test_rows_and_what_they_meet_fill_the_budget(kind: str, budget: int) -> None:
    device = torch.device(kind)
    assert rows_at_once(64, 512, device) * 512 == budget
    assert rows_at_once(2048, 512, device) * 2048 == budget


def test_a_huge_batch_meets_enough_rows() -> None:
    assert rows_at_once(2**20, 512, torch.device("cpu")) == 128
    assert rows_at_once(2**25, 2, torch.device("cpu")) == 1
