"""The report of a dataset: figures that are true, and a picture of the images themselves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.passes import report
from data_prep.passes.recipe import Recipe
from tests.unit.data_prep.plain import plain, write

draw = report._png


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What figures are drawn of; they are drawn here."""
    drawn: list[tuple] = []
    monkeypatch.setattr(report, "_png", lambda *arguments: drawn.append(arguments) or draw(*arguments))
    return drawn


def test_a_report(tmp_path: Path, encode: Callable, figure: list) -> None:
    reds = [(b"" if number == 2 else encode(number, mode="L")) for number in range(6)]
    faces = [("a|$b", jpeg) for jpeg in reds] + [
        ("李雷", b"no JPEG"),
        ("李雷", reds[0]),
        ("Ex", reds[1]),
        ("Cy", b"Cy"),
    ]
    for name in ("one", "two"):
        write(tmp_path / name, plain(*faces), Recipe(exclude=("Ex",)))
    assert (
        (tmp_path / "one" / "report.md").read_text(encoding="utf-8")
        == """\
# What this dataset holds

|  | images |
| --- | --- |
| in the source | 10 |
| left out | 3 |
| in the dataset | 7 |
| of each of 3 identities | 1 to 5, median 1 |

| left out, see rejected.csv | images |
| --- | --- |
| damaged | 1 |
| duplicate | 1 |
| excluded identity | 1 |

| rank | images | identity |
| --- | --- | --- |
| 1 | 5 | a\\|$b |
| 2 | 1 | Cy |
| 3 | 1 | 李雷 |

![long tail and images](report.png)
"""
    )
    counts_C, sheet, names = figure[0]
    assert counts_C.tolist() == [5, 1, 1] and names == ["#1", "#2", "#3"] and sheet.shape == (3 * 64, 8 * 64, 3)
    assert (sheet[:64, 5 * 64 :] == 255).all() and np.ptp(sheet[:64, :64]) > 20
    assert (sheet[64:, :64] == 128).all()  # images that cannot be decoded
    with Image.open(tmp_path / "one" / "report.png") as image:
        assert image.size == (1200, 580)
    assert (tmp_path / "one" / "report.png").read_bytes() == (tmp_path / "two" / "report.png").read_bytes()


def test_many_identities_and_reasons(tmp_path: Path, encode: Callable, figure: list) -> None:
    write(tmp_path / "out", plain(*((f"{number // 3:02d}", b"%d" % number) for number in range(100))))
    assert figure[0][0].tolist() == [3] * 33 + [1] and figure[0][2] == [
        f"#{rank}" for rank in (1, 6, 10, 15, 20, 25, 29, 34)
    ]
