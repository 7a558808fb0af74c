"""How much is worked on at once."""

from types import ModuleType

import torch

from lightning_face.losses import at_once

MEGABYTES = 2**20 // 4  # as float32 numbers


def check(module: ModuleType) -> None:
    """Rows and what they meet fill the budget; a huge batch meets enough rows."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for device, budget in ((cpu, 4 * MEGABYTES), (gpu, 16 * MEGABYTES)):
        assert module.rows_at_once(64, 512, device) * 512 == budget
        assert module.rows_at_once(2048, 512, device) * 2048 == budget
    assert module.rows_at_once(2**20, 512, cpu) == 128
    assert module.rows_at_once(2**25, 2, cpu) == 1


def test_rows_fill_the_budget() -> None:
    check(at_once)
