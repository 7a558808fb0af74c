"""`docs/losses.md` is true: every snippet trains as it stands, every head is drawn as it is."""

import csv
import re
from pathlib import Path

import pytest
import torch

from benchmarks.loss_curves import PANELS, svg
from lightning_face.losses import heads as heads_module
from lightning_face.losses.heads import CosineHead, Head, Softmax
from tests.e2e.test_commands import call

DOCS = Path(__file__).parents[2] / "docs"
PAGE, SVG = (DOCS / "losses.md").read_text(), (DOCS / "losses.svg").read_text()
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small take more than twice the time on two threads, which wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_loss_is_drawn_as_the_page_shows_it():
    """A new head without a panel fails, and so does a curve that changed: `make loss-curves` draws it anew."""
    heads = {kind for name in heads_module.__all__ if isinstance(kind := getattr(heads_module, name), type)}
    drawn = {head for head in heads if issubclass(head, Head)} - {Head, CosineHead, Softmax}
    assert set(PANELS) == drawn
    text = svg()
    assert all(head.__name__ in text for head in drawn)
    assert all(f">{title}<" in text for title in ("Contrastive", "Marginal", "Triplet", "Range", "Center loss, MML"))
    assert "](losses.svg)" in PAGE and numbers_of(text) == pytest.approx(numbers_of(SVG), abs=0.05)


def numbers_of(text: str) -> list[float]:
    """Of the curves: lines and polygons."""
    return [float(number) for path in re.findall(r' d="([^"]*)"', text) for number in re.findall(r"-?[\d.]+", path)]


def title_of(snippet: str) -> str:
    """The heading above it."""
    return re.findall(r"^#+ (.*)$", PAGE[: PAGE.index(snippet)], re.MULTILINE)[-1]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=title_of)
def test_snippet_trains(tiny_config, tmp_path, snippet):
    """Two steps, with the snippet's options over those of the tiny config, whose margin is for raw features."""
    (tmp_path / "snippet.yaml").write_text(snippet)
    short = ("--trainer.max_steps", 2, "--model.schedule.warmup_steps", 1, "--data.verification", "{}")
    configs = ("--config", tiny_config, "--model.objective.mml", "null", "--config", tmp_path / "snippet.yaml")
    call("fit", *configs, "--run_dir", tmp_path / "run", *short)
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        assert sum(bool(row["train/loss"]) for row in csv.DictReader(file)) == 2
