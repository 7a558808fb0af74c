"""Weights on a disk that is full."""

from pathlib import Path

import pytest
import torch

from lightning_face.checkpoint.contents import write_dense
from tests.disk import full_disk


@pytest.mark.parametrize("num_bytes", [0, 1_000, 100_000, 350_000])
def test_the_systems_word_for_a_full_disk_is_kept(tmp_path: Path, num_bytes: int) -> None:
    """Torch has one of its own for an archive whose end does not follow what was written."""
    weights = {str(number): torch.zeros(10_000) for number in range(10)}
    with full_disk(num_bytes), pytest.raises(OSError, match="File too large"):
        write_dense(weights, tmp_path / "dense.ckpt")
