"""The benchmark of the class tables at a tiny size, end to end, and the arithmetic of its report."""

import json
from pathlib import Path

import pytest

from benchmarks import class_tables
from benchmarks.cases import OWN, PEERS, Setting
from benchmarks.class_tables import main
from benchmarks.laws import fit


def test_measures_prints_and_leaves_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--classes", "40", "80", "--ranks", "2", "--batch", "8", "--dim", "4", "--repeats", "2", "--out"]
    main([*arguments, str(tmp_path)])
    content = json.loads((tmp_path / "class_tables.json").read_text())
    measured = {(m["name"], m["num_classes"]): m for m in content["measurements"]}
    assert set(measured) == {(name, num_classes) for name in OWN + PEERS for num_classes in (40, 80)}
    assert all(m["seconds"] >= m["fastest_seconds"] > 0 and m["peak_bytes"] > 0 for m in measured.values())
    assert measured["dense softmax", 40]["over_dense"] == 1.0
    classifiers = [measured["classifier", num_classes] for num_classes in (40, 80)]
    assert [m["held_bytes"] for m in classifiers] == [20 * 4 * 4 * 2, 40 * 4 * 4 * 2]  # with momentum, on one of two
    assert classifiers[0]["exchanged_bytes"] == classifiers[1]["exchanged_bytes"] > 0
    assert content["laws"]["classifier: bytes exchanged over C"]["slope"] == pytest.approx(0.0, abs=1e-9)
    assert content["laws"]["centers + MML vs all: bytes exchanged over C"]["slope"] == pytest.approx(0.0, abs=1e-9)
    rows = (tmp_path / "class_tables.md").read_text().splitlines()
    assert sum(row.count("|") == 10 for row in rows) == 2 + len(measured)  # with names of columns, and a rule
    assert (tmp_path / "class_tables.png").read_bytes().startswith(b"\x89PNG")
    assert "classifier" in capsys.readouterr().out


def test_what_does_not_fit_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(class_tables, "free_bytes", lambda device: 1000.0)
    with pytest.raises(SystemExit, match="no size fits"):
        main(["--classes", "1000", "--ranks", "1"])
    assert "left out" in capsys.readouterr().out


def test_what_does_not_fit_at_once_is_measured_in_turns_beside_the_dense_softmax(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    setting = Setting(1000, 1, batch=8, dim=512, device="cpu", threads=1, cores=1)  # tables of 2 MB; 10 for all cases
    monkeypatch.setattr(class_tables, "free_bytes", lambda device: 9e6 / 0.7)
    groups = class_tables._groups(setting, OWN + PEERS, "C")
    assert groups == [
        ["dense softmax", "classifier"],
        ["dense softmax", "sampled classifier"],
        ["dense softmax", "centers", "centers + MML"],
        ["dense softmax", "centers + MML vs all", "MML vs all, all close"],
    ]
    assert "dense centers left out" in capsys.readouterr().out
    monkeypatch.setattr(class_tables, "free_bytes", lambda device: 8e6 / 0.7)  # too little for both
    assert not any("dense softmax" in group for group in class_tables._groups(setting, OWN, "C"))


def test_batch_must_divide() -> None:
    with pytest.raises(SystemExit, match="--batch 7 must be a multiple of --ranks 2"):
        main(["--batch", "7"])


def test_line_through_points() -> None:
    line = fit([1, 2, 4], [3.0, 5.0, 9.0])
    assert (line.start, line.slope, line.explained) == pytest.approx((1.0, 2.0, 1.0))
    assert fit([1, 2], [7.0, 7.0]).explained == 1.0
