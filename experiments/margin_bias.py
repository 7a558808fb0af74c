"""Margin bias and its cure: how far classes with many and with few images are from their nearest other class.

    python -m experiments.schemes data/lfw runs/schemes_lfw
    python -m experiments.margin_bias data/lfw runs/schemes_lfw

Looks at the finished arms of `experiments.schemes`, in the same OUT, and trains one more: `mml_vs_all`, MML between a
batch's classes and all others, with the margin of `mml` and as large a share of the gradient. Distances are between the
class means of extracted features of the training set. OUT/margin_bias.md has medians for head, middle and tail of the
classes, and mean distances within and between classes. OUT/nearest_centers.png is the paper's histogram,
OUT/frequency.png has distances over the number of images; both are of one seed.

Source: Wei et al., "Minimum Margin Loss for Deep Face Recognition", arXiv 1805.06741.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.arms import MEASURED_FOLDER, Arm
from experiments.comparison import Comparison, Figures
from experiments.face_arms import FaceArms, compare, mml
from experiments.plots import frequency_figure
from experiments.schemes import SCHEMES
from lightning_face.evaluation.drawing import save
from lightning_face.evaluation.figures import nearest_center_figure
from lightning_face.objectives.long_tail import BUCKETS, buckets_of

REFERENCES: Mapping[str, str | None] = {
    "softmax": None,
    "center": "softmax",
    "control": "center",
    "mml": "control",
    "mml_vs_all": "mml",
}
_HISTOGRAM = ("control", "mml", "mml_vs_all")


def arms_of(faces: FaceArms, seed: int) -> Iterator[Arm]:
    """The arm that `schemes` has not; it begins with a center model that `schemes` has finished."""
    center = faces.anew("center", seed, SCHEMES["center"])
    constants = faces.rule(center, beyond_batch=True)
    yield faces.after(center, "mml_vs_all", seed, mml(*constants, scope="batch_vs_all"))


def bias_of(images: Sequence[int], nearest: Sequence[float], within: float, between: float, margin: float) -> Figures:
    """Medians of the distances to the nearest other class, by frequency, and how they compare.

    Args:
        images: of each class.
        nearest: distance of each class.
        within: mean distance of an image to the mean of its class.
        between: mean distance of the means of two classes.
        margin: of MML, squared.
    """
    buckets_C = buckets_of(torch.tensor(images)).numpy()
    nearest_C = np.array(nearest)
    medians = {
        f"median of {name}": float(np.median(nearest_C[buckets_C == place]))
        for place, name in enumerate(BUCKETS)
        if (buckets_C == place).any()
    }
    figures = {"median": float(np.median(nearest_C)), **medians}
    if {"median of head", "median of tail"} <= medians.keys():
        figures["tail / head"] = medians["median of tail"] / medians["median of head"]
    figures |= {"within": within, "between": between, "median / within": figures["median"] / within}
    return figures | {"share beyond margin": float(np.mean(nearest_C >= margin**0.5))}


def report(out: Path) -> None:
    """Write the table and the plots of what is finished."""
    finished = Comparison.read(out, REFERENCES)
    margins = {seed: figures["rule margin"] for seed, figures in finished.figures["center"].items()}
    measured = {
        arm: {seed: _nearest(path) for seed in seeds if (path := _path(out, arm, seed)).is_file()}
        for arm, seeds in finished.figures.items()
    }
    bias = {
        arm: {seed: bias_of(**values, margin=margins[seed]) for seed, values in seeds.items() if seed in margins}
        for arm, seeds in measured.items()
    }
    comparison = Comparison(REFERENCES, bias)
    columns = ["median", *(f"median of {name}" for name in BUCKETS), "tail / head", "within", "between"]
    columns += ["median / within", "share beyond margin"]
    (out / "margin_bias.md").write_text(f"# Distance to the nearest other class\n\n{comparison.table(columns)}")
    seed = max(margins, key=lambda seed: sum(seed in seeds for seeds in measured.values()), default=None)
    if seed is not None:
        _draw(out, {arm: seeds[seed] for arm, seeds in measured.items() if seed in seeds}, margins[seed])


def _path(out: Path, arm: str, seed: int) -> Path:
    """Of an arm's distances; another command may have tested an arm, and still be measuring it."""
    return out / arm / f"seed-{seed}" / MEASURED_FOLDER / "nearest.json"


def _nearest(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def _draw(out: Path, of_arms: Mapping[str, Mapping[str, Any]], margin: float) -> None:
    drawn = {arm: values for arm, values in of_arms.items() if arm in _HISTOGRAM} or of_arms
    save(nearest_center_figure({arm: drawn[arm]["nearest"] for arm in drawn}, margin), out / "nearest_centers.png")
    columns = [{arm: values[name] for arm, values in of_arms.items()} for name in ("images", "nearest")]
    save(frequency_figure(*columns), out / "frequency.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the one arm, and write the report."""
    compare(__doc__, "lfw.yaml", "as of `experiments.schemes`", arms_of, report, arguments)


if __name__ == "__main__":
    main()
