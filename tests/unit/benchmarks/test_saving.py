"""The benchmark of saving at a tiny size, on one rank in this process, and its report."""

from pathlib import Path

import pytest

from benchmarks.saving import HEADER, Checkpoint, Setting, measure, row


def test_saves_in_both_ways_and_removes_what_it_wrote(tmp_path: Path) -> None:
    setting = Setting(1, num_classes=40, dim=8, backbone="mobilefacenet", repeats=2, folder=tmp_path)
    with pytest.warns(UserWarning, match="training waits while checkpoints are written"):
        checkpoints = measure(0, setting, port=0)
    assert len(checkpoints) == 1 + setting.repeats
    tables = 3 * 40 * 8 * 4  # centers, classifier and its momentum
    assert all(one.num_bytes > tables and one.plain > 0 and one.stall > 0 for one in checkpoints)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["last", "step-00000001"]


def test_reports_medians_without_the_first() -> None:
    times = [(2.0, 0.9), (2.0, 0.1), (3.0, 0.3), (1.0, 0.2)]
    checkpoints = [Checkpoint(plain, stall, 4.0, 0.1, 0.15, 5_000_000) for plain, stall in times]
    assert dict(zip(HEADER, row(1, checkpoints), strict=True)) == {
        "W": "1",
        "MB": "5",
        "plain": "2.00",
        "stall": "0.200",
        "/ plain": "0.100",
        "first": "0.90",
        "written": "4.00",
        "step": "100",
        "meanwhile": "150",
    }
