"""Ranks that would go on from different checkpoints stop before the first step."""

from pathlib import Path

import pytest

from lightning_face.distributed.world import rank
from lightning_face.errors import ConfigError
from tests.distributed.test_engines import fit
from tests.ranks import run_ranks


def resume_each_elsewhere(dataset: Path, run_dir: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        fit(dataset, run_dir, resume=2 * rank() + 2)
    return str(caught.value)


def test_ranks_agree_on_the_checkpoint(tiny_dataset: Path, tmp_path: Path) -> None:
    run_ranks(fit, 1, tiny_dataset, tmp_path)
    for message in run_ranks(resume_each_elsewhere, 2, tiny_dataset, tmp_path):
        assert "ranks do not agree on the checkpoint: rank 0 has" in message
        assert "step-00000002" in message and "step-00000004" in message
