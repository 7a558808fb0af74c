"""The benchmark of streaming at a tiny size, end to end."""

import base64
import json
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import streaming
from benchmarks.streaming import main, tsv_lines


def test_measures_prints_and_leaves_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streaming, "_PICTURES", 2)
    main(["--lines", "9", "4", "--images-of-identity", "2", "--out", str(tmp_path)])
    few, more = json.loads((tmp_path / "streaming.json").read_text())["usages"]
    assert (few["lines"], more["lines"]) == (4, 9)
    assert all(usage["cpu_seconds"] > 0 and usage["peak_bytes"] > 10e6 for usage in (few, more))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["streaming.json", "streaming.md"]
    assert (tmp_path / "streaming.md").read_text() in capsys.readouterr().out


def test_lines_are_whole_pictures_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_PICTURES", 2)
    pictures = streaming._pictures()
    lines = [line.rstrip(b"\n").split(b"\t") for line in tsv_lines(pictures, 5, 2)]
    assert [len(line) for line in lines] == [7] * 5
    assert [line[0] for line in lines] == [b"m.000000", b"m.000000", b"m.000001", b"m.000001", b"m.000002"]
    decoded = [base64.b64decode(line[6], validate=True) for line in lines]
    assert all(first != second for first, second in pairwise(sorted(decoded)))
    for number, jpeg in enumerate(decoded):
        assert jpeg[:2] + jpeg[18:] == pictures[number % 2]
