"""Initial rows depend on (seed, table, class id) and on nothing else."""

import numpy as np
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


def test_rows_go_to_a_device_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight ranks of a node make their rows at once: the host has no room for all of them."""
    monkeypatch.setattr(initial, "_ROWS_AT_ONCE", 4)
    moved: list[int] = []
    from_numpy = torch.from_numpy

    def spy(array: np.ndarray) -> torch.Tensor:
        moved.append(len(array))
        return from_numpy(array)

    monkeypatch.setattr(torch, "from_numpy", spy)
    table = initial_rows("centers", 0, 19, 5, std=0.01, seed=3, device=torch.device("meta"))
    assert (table.device.type, table.shape) == ("meta", (19, 5))
    assert moved == [4, 4, 4, 4, 3]


def test_more_classes_leave_the_first_rows_as_they_are() -> None:
    assert torch.equal(rows(0, 30)[:19], rows(0, 19))


def test_seeds_and_tables_differ() -> None:
    assert not torch.equal(rows(0, 4), rows(0, 4, seed=4))
    assert not torch.equal(rows(0, 4), rows(0, 4, name="classes"))


def test_rows_are_normal_float32() -> None:
    table = initial_rows("classes", 0, 20_000, 64, std=0.5, seed=1)
    assert table.dtype == torch.float32
    assert table.isfinite().all()
    assert abs(table.mean()) < 0.002
    assert abs(table.std() - 0.5) < 0.002
    within = torch.tensor([(table.abs() < deviations * 0.5).float().mean() for deviations in (1, 2, 3, 4, 5)])
    torch.testing.assert_close(within, torch.tensor([0.6827, 0.9545, 0.9973, 0.99994, 1.0]), rtol=0, atol=0.002)


def test_columns_rows_and_tables_are_independent() -> None:
    """Correlations of standard normals from n samples are normal with deviation 1 / sqrt(n)."""
    classes, centers = (initial_rows(name, 0, 10_000, 64, std=1.0, seed=1) for name in ("classes", "centers"))
    columns = torch.corrcoef(torch.cat([classes, centers], dim=1).T)
    neighbours = torch.corrcoef(torch.cat([classes[:64], classes[64:128]]).reshape(128, 64))
    for correlations, samples in ((columns, 10_000), (neighbours, 64)):
        others = correlations[~torch.eye(128, dtype=torch.bool)] * samples**0.5
        assert others.abs().max() < 5.5
        assert abs(others.std() - 1.0) < 0.05


def test_rows_differ() -> None:
    table = initial_rows("classes", 0, 100_000, 4, std=1.0, seed=1)
    assert len(table.unique(dim=0)) == len(table)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_fewer_columns_are_the_first_of_more(dim: int) -> None:
    assert torch.equal(initial_rows("classes", 5, 9, dim, std=1.0, seed=1), rows_of_dim_8()[:, :dim])


def rows_of_dim_8() -> torch.Tensor:
    return initial_rows("classes", 5, 9, 8, std=1.0, seed=1)


def test_no_deviation_is_zeros() -> None:
    assert not initial_rows("centers", 0, 6, 3, std=0.0, seed=1).any()
