"""Center loss's toy: digits in a few dimensions, for several weights of center loss, side by side.

    python -m data_prep mnist IDX data/mnist
    python -m experiments.mnist_toy data/mnist runs/mnist_toy
    python -m experiments.mnist_toy data/mnist runs/mnist_toy --dims 8 64

OUT/table-2d.md has test accuracy, and the mean distances within and between classes, against the weight;
OUT/scatter.png the features of the test set in two dimensions, of the first seed. In the paper a run has 10,000 steps;
here it is shorter, and the learning rate falls in proportion.

Source: Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, figures 2 and 3.
Shapes: N digits, C classes, D features.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from experiments.arms import Arm, options_of_data
from experiments.command import CONFIGS, carry_out, make_parser
from experiments.comparison import Comparison
from experiments.features import embedded, within_and_between
from experiments.plots import scatter_figure
from lightning_face.evaluation.drawing import save

WEIGHTS = (0.0, 0.001, 0.01, 0.1, 1.0)
FIGURES = ("test/classifier_accuracy", "test/center_accuracy", "intra-class", "inter-class", "ratio")


def distances(features_ND: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Mean distance of samples to the mean of their class, mean distance between the means of two classes, ratio."""
    intra, inter = within_and_between(features_ND, labels_N)
    return {"intra-class": intra, "inter-class": inter, "ratio": intra / inter}


def arms_of(options: Namespace, seed: int) -> Iterator[Arm]:
    """All arms of a seed."""

    def measured(arm: Arm) -> dict[str, float]:
        return distances(*embedded(arm.network, options.data / "test"))

    for dim in options.dims:
        for weight in options.weights:
            of_fit = {
                "seed_everything": seed,
                **options_of_data(options.data),
                "model.objective.center.weight": weight,
                "model.backbone.embedding_dim": dim,
                # As the authors' code draws them, "xavier": 0.707 for two dimensions; with that, 64 diverge.
                "model.objective.softmax.init_std": round(dim**-0.5, 3),
                "trainer.max_steps": options.steps,
                "trainer.check_val_every_n_epoch": 1000,
                "trainer.enable_progress_bar": False,
                "checkpoint.every_n_steps": 100,
            }
            folder = options.out / name_of(dim, weight) / f"seed-{seed}"
            yield Arm(folder, options.config, of_fit, {"distances": measured})


def name_of(dim: int, weight: float) -> str:
    """Name of an arm."""
    return f"{dim}d_weight_{weight:g}"


def report(options: Namespace, out: Path) -> None:
    """Write the table of each number of dimensions, and the plot."""
    for dim in options.dims:
        names = [name_of(dim, weight) for weight in options.weights]
        comparison = Comparison.read(out, {name: names[0] if name != names[0] else None for name in names})
        (out / f"table-{dim}d.md").write_text(f"# Center loss in {dim} dimensions\n\n{comparison.table(FIGURES)}")
        seeds = [seed for figures in comparison.figures.values() for seed in figures]
        if dim == 2 and seeds:
            _draw(options, out, comparison, min(seeds))


def _draw(options: Namespace, out: Path, comparison: Comparison, seed: int) -> None:
    features = {}
    for weight in options.weights:
        name = name_of(2, weight)
        if seed in comparison.figures[name]:
            accuracy = comparison.figures[name][seed][FIGURES[0]]
            network = out / name / f"seed-{seed}" / "network.safetensors"
            features_N2, labels_N = embedded(network, options.data / "test")
            title = f"center loss x {weight:g}, accuracy {accuracy:.3f}"
            features[title] = features_N2.numpy(), labels_N.numpy()
    save(scatter_figure(features), out / "scatter.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all arms and write the tables and the plot."""
    parser = make_parser(__doc__, CONFIGS / "mnist.yaml", "folder that `python -m data_prep mnist` wrote")
    parser.set_defaults(seeds=[1])
    parser.add_argument(
        "--weights", type=float, nargs="+", default=WEIGHTS, help="of center loss; the first is the reference"
    )
    parser.add_argument("--dims", type=int, nargs="+", default=[2], help="of the features (default: 2)")
    parser.add_argument("--steps", type=int, default=300, help="of each run (default: %(default)s)")
    options = parser.parse_args(arguments)
    carry_out(partial(arms_of, options), options, partial(report, options))


if __name__ == "__main__":
    main()
