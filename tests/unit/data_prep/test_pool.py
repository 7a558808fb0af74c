"""Tasks are spread over processes, and taken no farther ahead than these need."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_prep.pool import run_tasks


def touch(path: Path, advance: Callable[[], None]) -> str:
    path.touch()
    advance()
    return path.name


@pytest.mark.parametrize(("workers", "ahead"), [(0, 0), (2, 3)])
def test_tasks_are_taken_as_they_are_needed(tmp_path: Path, workers: int, ahead: int) -> None:
    def tasks() -> Iterator[Path]:
        for number in range(12):
            assert len(list(tmp_path.iterdir())) >= number - ahead
            yield tmp_path / str(number)

    shown: list[int] = []
    assert run_tasks(touch, tasks(), workers, shown.append) == [str(number) for number in range(12)]
    assert shown == sorted(shown) and shown[-1] == 12


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_while_tasks_are_taken(tmp_path: Path, workers: int) -> None:
    def tasks() -> Iterator[Path]:
        yield tmp_path / "0"
        raise OSError("the pipe broke")

    with pytest.raises(OSError, match="the pipe broke"):
        run_tasks(touch, tasks(), workers, lambda done: None)
