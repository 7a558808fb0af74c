"""The benchmark of preparing at a tiny size, end to end, and its arithmetic."""

import json
from pathlib import Path

import pytest

from benchmarks import preparing
from benchmarks.preparing import copy_tars, main, ratio, write_records
from data_prep import __main__ as data_prep
from data_prep.tars import members


def test_measures_prints_and_leaves_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preparing, "_PICTURES", 2)
    main(["--images", "10", "--rounds", "1", "--out", str(tmp_path)])
    content = json.loads((tmp_path / "preparing.json").read_text())
    ours, copy = (content["cpu_seconds_per_image"][name] for name in ("ours", "copy"))
    assert len(ours) == len(copy) == 1 and content["target"]["value"] == copy[0] / ours[0] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preparing.json", "preparing.md"]
    assert (tmp_path / "preparing.md").read_text() in capsys.readouterr().out


def test_every_image_is_prepared_and_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "_PICTURES", 2)
    write_records(tmp_path / "set", 30)
    data_prep.main(["recordio", str(tmp_path / "set"), str(tmp_path / "out"), "--workers", "0"])
    copy_tars(tmp_path / "out", tmp_path / "copy")
    (shard,) = (tmp_path / "out").glob("*.tar")
    assert members(tmp_path / "copy" / shard.name) == members(shard) and len(members(shard)) == 60
    assert (tmp_path / "out" / "identities.txt").read_text() == "0\n1\n"


def test_the_ratio_is_of_the_same_round() -> None:
    assert ratio([1.0, 2.0, 9.0], [0.9, 1.0, 27.0]) == 0.9
