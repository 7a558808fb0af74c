"""Initial rows depend on (seed, table, class id) and on nothing else."""

import pytest
import torch

from lightning_face.tables import initial
from lightning_face.tables.initial import initial_rows


def rows(first: int, count: int, *, name: str = "centers", seed: int = 3) -> torch.Tensor:
    return initial_rows(name, first, count, 5, std=0.01, seed=seed)


@pytest.mark.parametrize(("first", "count"), [(0, 3), (7, 12), (15, 4), (18, 1), (4, 0)])
def test_any_block_equals_that_of_the_whole_table(first: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(0, 19)
    monkeypatch.setattr(initial, "_ROWS_AT_ONCE", 4)
    assert torch.equal(rows(first, count), whole[first : first + count])


def test_more_classes_leave_the_first_rows_as_they_are() -> None:
    assert torch.equal(rows(0, 30)[:19], rows(0, 19))


def test_seeds_and_tables_differ() -> None:
    assert not torch.equal(rows(0, 4), rows(0, 4, seed=4))
    assert not torch.equal(rows(0, 4), rows(0, 4, name="classes"))


def test_rows_are_normal_float32() -> None:
    table = initial_rows("classes", 0, 2000, 8, std=0.5, seed=1)
    assert table.dtype == torch.float32
    assert abs(table.mean()) < 0.02
    assert abs(table.std() - 0.5) < 0.02


def test_no_deviation_is_zeros() -> None:
    assert not initial_rows("centers", 0, 6, 3, std=0.0, seed=1).any()
