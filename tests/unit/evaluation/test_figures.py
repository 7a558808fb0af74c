"""Figures are drawn at their size, without pyplot, and written whole or not at all."""

import struct
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from lightning_face.evaluation import drawing, figures
from lightning_face.evaluation.pairs import PairList
from lightning_face.evaluation.verification import VerificationResult, evaluate


def result(size: int, gap: float) -> VerificationResult:
    generator = np.random.default_rng(size)
    same = np.arange(size) % 2 == 0
    none = np.zeros(size, np.int64)
    scores = generator.normal(gap * same, 0.12).clip(-1.0, 1.0)
    return evaluate(scores, PairList(none, none, same, np.arange(size) // 2 % 2))


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


STEPS = np.arange(0, 200, 10)
LOSSES = {"total": np.geomspace(100.0, 1.0, 20), "softmax": np.linspace(3.0, 1.0, 20), "center": np.full(20, np.nan)}
BY_BUCKET = {
    name: {"head": values, "tail": LOSSES["total"]} for name, values in LOSSES.items()
}  # some of it logarithmic
IMAGES = np.repeat([1, 2, 5, 100, 0], 60)
OF_CENTERS = {"distance": np.arange(300.0), "staleness": np.full(300, np.nan)}
DISTANCES = np.random.default_rng(0).gamma(30.0, 0.4, 300)


@pytest.mark.parametrize(
    ("figure", "inches"),
    [
        (lambda: figures.roc_figure({"Softmax": result(600, 0.3), "MML": result(2000, 0.6)}), (11.0, 4.8)),
        (lambda: figures.roc_figure({"perfect": result(8, 1.0)}), (11.0, 4.8)),
        (lambda: figures.score_histogram_figure(result(600, 0.4), "val, step 10"), (7.5, 4.5)),
        (lambda: figures.losses_figure(STEPS, LOSSES), (10.2, 6.2)),
        (lambda: figures.losses_figure([7], {"total": [1.5]}), (5.6, 3.3)),
        (lambda: figures.nearest_center_figure({"center": DISTANCES, "MML": DISTANCES + 2.0}, 280.0), (7.5, 4.5)),
        (lambda: figures.nearest_center_figure({"equal": np.ones(2)}, None), (7.5, 4.5)),
        (lambda: figures.long_tail_figure(STEPS, BY_BUCKET, IMAGES, OF_CENTERS), (14.8, 6.2)),
        (lambda: figures.long_tail_figure([7], {"loss": {"middle": [1.5]}}, [], {}), (14.8, 3.3)),
    ],
    ids=[
        "roc",
        "roc of 8 pairs",
        "scores",
        "losses",
        "one step",
        "centers",
        "equal centers",
        "long tail",
        "one bucket",
    ],
)
def test_png_of_the_given_size(tmp_path: Path, figure: object, inches: tuple[float, float]) -> None:
    drawn = figure()  # type: ignore[operator]
    assert isinstance(drawn, Figure)
    drawing.save(drawn, tmp_path / "plot.png")
    assert png_size(tmp_path / "plot.png") == (round(inches[0] * 120), round(inches[1] * 120))
    assert (tmp_path / "plot.png").stat().st_size > 5000
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_the_margin_line_is_at_the_root() -> None:
    (axes,) = figures.nearest_center_figure({"MML": DISTANCES}, 280.0).axes
    (line,) = axes.lines
    assert line.get_xdata()[0] == pytest.approx(280.0**0.5)  # type: ignore[index]
    assert "M = 280" in str(line.get_label())


def test_a_failed_save_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plot.png"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        drawing.save(Figure(), path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("plot.png", b"old")]


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        drawing.save(figures.nearest_center_figure({"MML": DISTANCES}, None), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_pyplot_stays_out() -> None:
    for module in (figures, drawing):
        assert "pyplot" not in Path(module.__file__).read_text().split('"""', maxsplit=2)[2]
