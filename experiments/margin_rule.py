"""Margin and weight of MML for embeddings of any scale, measured on a finished center model.

    python -m experiments.margin_rule runs/center data/train

The paper's constants, margin 280 and weight 5e-8, belong to its own embeddings. Here the margin is the square of a
quantile of the distances between all pairs of class centers; the weight gives MML's gradient a stated multiple of
center loss's. docs/experiments.md has the algebra, and how well the constants do.

Shapes: U classes of a step, G its samples, C classes, D features.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.center_model import CenterModel, center_loss_of
from lightning_face.checkpoint.directory import describe
from lightning_face.checkpoint.exported import CENTERS, MOVED_AT
from lightning_face.commands.export import checkpoint_of, export
from lightning_face.errors import DataError, FaceError
from lightning_face.losses import ClassRows, MinimumMargin, class_sums, moved_centers
from lightning_face.objectives.minimum_margin import MinimumMarginConfig

QUANTILE = 0.9
"""Of the pairs of classes, the share that is closer than the margin."""

SHARE = 30.0
"""Norm of MML's gradient over that of center loss's; docs/experiments.md tells how it was found."""

PAPER = MinimumMarginConfig()
_MOST_CLASSES = 4096


def constants(model: CenterModel, *, beyond_batch: bool = False) -> tuple[float, float]:
    """Margin and weight by the rule.

    Args:
        model: to begin with.
        beyond_batch: whether the weight is for scope `batch_vs_all`.
    """
    margin = margin_of(model)
    return margin, weight_of(model, margin, beyond_batch=beyond_batch)


def margin_of(model: CenterModel, quantile: float = QUANTILE) -> float:
    """The square of a quantile of the distances between all pairs of centers; of very many, between some thousand."""
    centers_CD = model.centers_CD[model.has_center_C]
    every = -(-len(centers_CD) // _MOST_CLASSES)
    return float(np.quantile(torch.pdist(centers_CD[::every]).numpy(), quantile)) ** 2


def weight_of(model: CenterModel, margin: float, share: float = SHARE, *, beyond_batch: bool = False) -> float:
    """The weight that gives MML's gradient a multiple of center loss's.

    Raises:
        DataError: no pair is closer than the margin.
    """
    ratio = share_of(model, margin, 1.0, beyond_batch=beyond_batch)
    if not ratio:
        raise DataError(f"no two classes of a step are closer than {margin**0.5:.3g}: use larger batches")
    return share / ratio


def share_of(model: CenterModel, margin: float, weight: float, *, beyond_batch: bool = False) -> float:
    """Norm of MML's gradient with respect to the features over that of center loss's, root mean square of steps.

    Args:
        model: to begin with.
        margin: of MML.
        weight: of MML, in mode A.
        beyond_batch: with scope `batch_vs_all`.
    """
    squares = [_squares(model, *step, margin, beyond_batch) for step in model.steps]
    of_center, of_margin = np.array(squares).sum(axis=0)
    return weight / model.weight * math.sqrt(of_margin / of_center)


def _squares(
    model: CenterModel, features_GD: Tensor, labels_G: Tensor, margin: float, beyond_batch: bool
) -> tuple[float, float]:
    """Squared norms of both gradients in a step, at weight 1: center loss a mean, MML a sum, in mode A."""
    center = (features_GD - model.centers_CD[labels_G]).square().sum() / len(labels_G) ** 2
    classes_U, slots_G, counts_U = labels_G.unique(return_inverse=True, return_counts=True)
    sums_UD = class_sums(features_GD, slots_G, len(classes_U))
    batch = ClassRows(classes_U, moved_centers(model.centers_CD[classes_U], sums_UD, counts_U, model.rate))
    pairs = MinimumMargin(batch, margin)
    pairs.add_within(range(len(batch)), gradient=True)
    if beyond_batch:
        is_outside_C = model.has_center_C.clone()
        is_outside_C[classes_U] = False
        outside = is_outside_C.nonzero().squeeze(1)
        pairs.add_across(ClassRows(outside, model.centers_CD[outside]), gradient=True)
    # Wen's rule passes rate / (1 + n) of a center's gradient to each of its n samples.
    passed_U = counts_U * (model.rate / (1.0 + counts_U)).square()
    return float(center), float((passed_U * pairs.gradient_UD.square().sum(1)).sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a finished center model, and print the options."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m experiments.margin_rule", description=__doc__, formatter_class=as_written
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run with center loss, or a checkpoint of it")
    parser.add_argument("train", type=Path, metavar="TRAIN", help="its training set")
    parser.add_argument("--beyond-batch", action="store_true", help="for model.objective.mml.scope batch_vs_all")
    options = parser.parse_args(arguments)
    try:
        model = _model_of(options.run, options.train)
        margin, weight = constants(model, beyond_batch=options.beyond_batch)
    except FaceError as error:
        sys.exit(f"error: {error}")
    print(
        f"{QUANTILE:.0%} of the pairs of centers are closer than {margin**0.5:.4g}; with this weight MML's gradient is"
        f" {SHARE:g} times as large as center loss's:"
    )
    given = {"margin": f"{margin:.4g}", "weight": f"{weight:.3g}"}
    given |= {"scope": "batch_vs_all"} if options.beyond_batch else {}
    print(" ".join(f"--model.objective.mml.{name} {value}" for name, value in given.items()))


def _model_of(run: Path, train: Path) -> CenterModel:
    checkpoint = checkpoint_of(run)
    center_loss_of(describe(checkpoint))  # or the export would speak of its own options
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.safetensors"
        export(checkpoint, network, (CENTERS, MOVED_AT))
        return CenterModel.of(network, describe(checkpoint), train)


if __name__ == "__main__":
    main()
