"""Rank 0 chooses the checkpoint that all ranks go on from, and it alone reads all of it to see whether it is whole."""

import contextlib
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from pytorch_lightning.plugins.environments import TorchElasticEnvironment

from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.checkpoint import choice
from lightning_face.checkpoint.choice import choice_of_rank_zero, last_intact
from lightning_face.checkpoint.directory import DENSE_FILE, checkpoints_of, name_of
from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import CheckpointError, ConfigError
from lightning_face.files import sha256_of
from tests.ranks import run_ranks, torchrun
from tests.unit.callbacks.test_checkpointing import fit
from tests.unit.checkpoint.test_directory import altered, save


def choose(run_dir: Path) -> tuple[str, int]:
    """What this rank goes on from, and how many files it has read; or the error."""
    with patch.object(choice, "sha256_of", side_effect=sha256_of) as read:
        try:
            chosen = choice_of_rank_zero(partial(last_intact, run_dir), run_dir)
        except CheckpointError as error:
            return str(error), read.call_count
    assert chosen is not None
    return chosen.name, read.call_count


def test_all_ranks_go_on_from_what_rank_0_has_read(tmp_path: Path) -> None:
    """Of the newest a bit is wrong, which no length tells: rank 0 passes it over, and the others follow."""
    folder = checkpoints_of(tmp_path)
    before = save(folder, 10)
    altered(save(folder, 20) / DENSE_FILE)
    assert last_intact(tmp_path, every_byte=False) == folder / name_of(20)
    assert run_ranks(choose, 2, tmp_path) == [(name_of(10), 3), (name_of(10), 0)]
    altered(before / DENSE_FILE)
    errors = run_ranks(choose, 2, tmp_path)
    assert errors[0][0] == errors[1][0] and "rank 0: none of the 2 checkpoints" in errors[0][0]


def resume(run_dir: Path) -> str:
    """Where this rank has gone on from, after each has found another checkpoint."""
    options = {"devices": world_size(), "strategy": "ddp", "plugins": [TorchElasticEnvironment()]}
    with torchrun():
        fit(run_dir, Checkpointing(every_n_steps=1, keep=9), max_steps=2, **options)
        trainer = fit(run_dir, Checkpointing(), resume=1 + rank(), max_steps=3, **options)
    return Path(trainer.ckpt_path).parent.name


def test_lightning_loads_the_choice_of_rank_0(tmp_path: Path) -> None:
    assert run_ranks(resume, 2, tmp_path) == [name_of(1)] * 2


def refusal(nodes: list[Path]) -> str:
    """What this rank says to the checkpoints of a run folder that has one name on all nodes."""
    with contextlib.chdir(nodes[rank()]):
        try:
            choice_of_rank_zero(partial(last_intact, Path("run")), Path("run"))
        except ConfigError as error:
            return str(error)
    return "nothing went wrong"


@pytest.mark.parametrize(
    ("steps", "difference"),
    [
        ((10, None), "newest checkpoint: rank 0 has step-00000010, rank 1 has none"),
        ((None, 10), "newest checkpoint: rank 0 has none, rank 1 has step-00000010"),
        ((10, 10), "checkpoint to load: rank 0 has run/checkpoints/step-00000010 ("),
    ],
)
def test_folders_that_are_not_shared_are_refused(
    tmp_path: Path, steps: tuple[int | None, ...], difference: str
) -> None:
    """Every node would train another run."""
    nodes = [tmp_path / "a", tmp_path / "b"]
    for node, step in zip(nodes, steps, strict=True):
        node.mkdir()
        if step is not None:
            save(checkpoints_of(node / "run"), step, contents=node.name.encode())
    errors = run_ranks(refusal, 2, nodes)
    assert all(f"do not agree on the {difference}" in error and "\n" not in error for error in errors)
