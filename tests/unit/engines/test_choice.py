"""Which engine loads whose checkpoints."""

from pathlib import Path

import pytest

from lightning_face.checkpoint.directory import Description
from lightning_face.engines.choice import check_engine_can_load
from lightning_face.errors import CheckpointError


def saved_by(engine: str, num_ranks: int) -> Description:
    return Description(1, {}, {}, {}, {}, engine, num_ranks)


@pytest.mark.parametrize(
    ("saved", "now"),
    [
        (("ddp", 2), ("ddp", 1)),
        (("ddp", 2), ("fsdp2", 3)),
        (("fsdp2", 4), ("ddp", 4)),
        (("deepspeed_stage_2", 2), ("deepspeed_stage_2", 2)),
    ],
)
def test_loads(saved: tuple[str, int], now: tuple[str, int]) -> None:
    assert check_engine_can_load(Path("c"), saved_by(*saved), *now) is None


@pytest.mark.parametrize(
    ("saved", "now"),
    [
        (("deepspeed_stage_2", 2), ("deepspeed_stage_2", 1)),
        (("deepspeed_stage_1", 2), ("deepspeed_stage_3", 2)),
        (("deepspeed_stage_2", 2), ("ddp", 2)),
        (("fsdp2", 2), ("deepspeed_stage_2", 2)),
    ],
)
def test_deepspeed_loads_what_it_saved_itself(saved: tuple[str, int], now: tuple[str, int]) -> None:
    with pytest.raises(CheckpointError) as error:
        check_engine_can_load(Path("c"), saved_by(*saved), *now)
    assert f"c was saved by {saved[0]} on {saved[1]} ranks and cannot be loaded by {now[0]} on {now[1]}" in str(
        error.value
    )
