"""Of two attempts at one run, the later one may write."""

import json
from pathlib import Path

import pytest

from lightning_face import attempts
from lightning_face.errors import SupersededError


def taken_over(run_dir: Path, **fields: object) -> None:
    """By a process elsewhere."""
    later = {"number": 2, "job": None, "host": "elsewhere", "process": 7, "started_at": "now", **fields}
    (run_dir / attempts.ATTEMPT_FILE).write_text(json.dumps(later))


def test_numbers_count_up(tmp_path: Path) -> None:
    assert [attempts.begin(tmp_path) for _ in range(3)] == [1, 2, 3]
    attempts.check(tmp_path)
    assert not attempts.is_lost(tmp_path)


def test_a_later_attempt_takes_over_until_this_process_begins_again(tmp_path: Path) -> None:
    attempts.begin(tmp_path)
    taken_over(tmp_path)
    assert not attempts.is_lost(tmp_path), "nobody has looked yet"
    with pytest.raises(SupersededError, match=r"attempt 1 ends, .*: attempt 2 \(process 7 on elsewhere, since now\)"):
        attempts.check(tmp_path / ".")
    assert attempts.is_lost(tmp_path)
    assert attempts.begin(tmp_path) == 3
    assert attempts.is_latest(tmp_path)


def test_of_two_that_begin_at_once_the_one_whose_record_stays_goes_on(tmp_path: Path) -> None:
    attempts.begin(tmp_path)
    taken_over(tmp_path, number=1, job="4711")
    with pytest.raises(SupersededError, match=r"attempt 1 \(job 4711 on elsewhere"):
        attempts.check(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": "two"}', None])
def test_a_record_that_cannot_be_read_takes_nothing_away(tmp_path: Path, text: str | None) -> None:
    attempts.begin(tmp_path)
    path = tmp_path / attempts.ATTEMPT_FILE
    path.unlink() if text is None else path.write_text(text)
    attempts.check(tmp_path)
    assert attempts.begin(tmp_path) == 1


def test_who_has_begun_no_attempt_may_write(tmp_path: Path) -> None:
    taken_over(tmp_path)
    attempts.check(tmp_path)
