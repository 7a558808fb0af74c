"""Center loss's toy: digits in a few dimensions, for several weights of center loss, side by side.

    python -m data_prep mnist IDX data/mnist
    python -m experiments.mnist_toy data/mnist runs/mnist_toy

Each weight is a run of `configs/mnist.yaml` in a folder of its own; all see the same pictures in the same order.
Started again, the command goes on where it was stopped. It leaves `table-2d.md` and, for two dimensions, `scatter.png`:
features of the test set.

Source: Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, figures 2 and 3.
Shapes: N digits, C classes, D features.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_face.__main__ import main as lightning_face
from lightning_face.checkpoint.exported import load_backbone
from lightning_face.data.augment import normalise
from lightning_face.data.faces import BatchRequest, Faces
from lightning_face.data.shards import Shards

CONFIG = Path(__file__).parents[1] / "configs" / "mnist.yaml"
WEIGHTS = (0.0, 0.001, 0.01, 0.1, 1.0)
STEPS = 500
_BATCH = 500


@dataclass(frozen=True)
class Arm:
    """A finished run.

    Args:
        weight: of center loss.
        features_ND: of the test set.
        labels_N: digits.
        accuracies: of the test set, by what decides.
    """

    weight: float
    features_ND: NDArray[np.float64]
    labels_N: NDArray[np.int64]
    accuracies: dict[str, float]

    def row(self) -> str:
        """A line of the table."""
        intra, inter = distances(self.features_ND, self.labels_N)
        by = [f"{self.accuracies[f'{table}_accuracy']:.4f}" for table in ("classifier", "center")]
        return f"| {self.weight:g} | {' | '.join(by)} | {intra:.3f} | {inter:.3f} | {intra / inter:.3f} |"


def distances(features_ND: NDArray[np.float64], labels_N: NDArray[np.int64]) -> tuple[float, float]:
    """Mean distance of samples to the mean of their class, and mean distance between the means of two classes."""
    means_CD = np.stack([features_ND[labels_N == label].mean(axis=0) for label in np.unique(labels_N)])
    classes_N = np.unique(labels_N, return_inverse=True)[1]
    intra = np.linalg.norm(features_ND - means_CD[classes_N], axis=1).mean()
    between_CC = np.linalg.norm(means_CD[:, None] - means_CD[None], axis=2)
    num_classes = len(means_CD)
    return float(intra), float(between_CC.sum() / (num_classes * (num_classes - 1)))


def trained(data: Path, run: Path, weight: float, dim: int, steps: int) -> Arm:
    """Train, test and embed one arm, or what is still missing of it."""
    if not (run / "result.json").is_file():
        options = {
            "config": CONFIG,
            "run_dir": run,
            "data.train": data / "train",
            "data.identification": f"{{test: {data}/test}}",
            "model.objective.center.weight": weight,
            "model.backbone.embedding_dim": dim,
            "trainer.max_steps": steps,
            "trainer.check_val_every_n_epoch": 1000,
            "checkpoint.every_n_steps": 100,
        }
        _call("fit", *(text for name, value in options.items() for text in (f"--{name}", str(value))))
        _call("test", "--run_dir", str(run))
    network = run / "network.safetensors"
    _call("export", str(run), str(network))
    accuracies = json.loads((run / "result.json").read_text())["identification"]["test"]
    return Arm(weight, *embedded(network, data / "test"), accuracies)


@torch.no_grad()
def embedded(network: Path, test: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features (N, D) of a set as the network gives them, and labels (N,)."""
    backbone = load_backbone(network)
    faces = Faces(Shards(test), seed=0, channels=1, replace_damaged=False)
    batches = [
        faces[BatchRequest(0, 0, np.arange(start, min(start + _BATCH, len(faces))))]
        for start in range(0, len(faces), _BATCH)
    ]
    features = [backbone(normalise(batch.images_BHWC, backbone.image_size)) for batch in batches]
    return torch.cat(features).double().numpy(), torch.cat([batch.labels_B for batch in batches]).numpy()


def scatter(arms: Sequence[Arm]) -> Figure:
    """The features of all arms, two dimensions each, a colour for each digit."""
    figure = Figure(figsize=(4 * len(arms), 4), layout="constrained")
    for axes, arm in zip(figure.subplots(1, len(arms), squeeze=False)[0], arms, strict=True):
        axes.scatter(*arm.features_ND.T, c=arm.labels_N, cmap="tab10", s=2, linewidths=0)
        axes.set_title(f"center loss x {arm.weight:g}, accuracy {arm.accuracies['classifier_accuracy']:.3f}")
    return figure


def _call(*arguments: str) -> None:
    code = lightning_face(list(arguments))
    if code:
        sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all arms and write the table and the plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder that `python -m data_prep mnist` wrote")
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument(
        "--weights", type=float, nargs="+", default=WEIGHTS, help="of center loss (default: %(default)s)"
    )
    parser.add_argument("--dim", type=int, default=2, help="of the features (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="of each run (default: %(default)s; 10000 in the paper)"
    )
    options = parser.parse_args(arguments)
    arms = [
        trained(options.data, options.out / f"{options.dim}d-{weight:g}", weight, options.dim, options.steps)
        for weight in options.weights
    ]
    head = "| weight | classifier | nearest center | intra-class | inter-class | ratio |\n|---|---|---|---|---|---|\n"
    (options.out / f"table-{options.dim}d.md").write_text(head + "\n".join(arm.row() for arm in arms) + "\n")
    if options.dim == 2:
        scatter(arms).savefig(options.out / "scatter.png", dpi=120)


if __name__ == "__main__":
    main()
