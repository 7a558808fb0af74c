"""The benchmark of streaming at a tiny size, end to end."""

import base64
import json
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


def test_lines_are_whole_pictures_and_a_tenth_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_PICTURES", 2)
    pictures = streaming._pictures()
    lines = [line.rstrip(b"\n").split(b"\t") for line in tsv_lines(pictures, 20, 2)]
    assert [len(line) for line in lines] == [7] * 20
    assert [line[0] for line in lines] == [b"m.%06x" % (number // 2) for number in range(20)]
    decoded = [base64.b64decode(line[6], validate=True) for line in lines]
    assert len(set(decoded)) == 18 and decoded[9] == decoded[8] and decoded[19] == decoded[18]
    for number in range(9):
        assert decoded[number][:2] + decoded[number][18:] == pictures[number % 2]
