"""What pair losses cost over a distance, and a step of range loss, computed by the package's own code."""

import math
from collections.abc import Callable, Mapping

import torch
from matplotlib.axes import Axes
from torch import Tensor

from benchmarks.strokes import BLUE, GREEN, PLAIN, RED, arrow
from lightning_face.losses import (
    Pairs,
    contrastive_loss,
    given_triplet_loss,
    inter_class_loss,
    intra_class_ranges,
    marginal_loss,
    nearest_means,
)

# Shapes: A distances, T triplets, D dimension.


def pairs_at(distances_A: Tensor, *, same: bool) -> list[Pairs]:
    """Two samples at each distance."""
    features = [torch.tensor([[0.0], [float(distance)]]) for distance in distances_A]
    labels = torch.tensor([0, 0 if same else 1])
    return [Pairs.of(feature, labels, slice(0, 1)) for feature in features]


def over_distance(axes: Axes, curves: Mapping[str, Callable[[list[Pairs], list[Pairs]], list[Tensor]]]) -> None:
    """Costs of a pair of one class, and of a pair of two, over their distance."""
    distances_A = torch.linspace(0.0, 2.0, 61)
    same, other = pairs_at(distances_A, same=True), pairs_at(distances_A, same=False)
    for colour, (label, costs) in zip((BLUE, RED, GREEN), curves.items(), strict=False):
        axes.plot(distances_A, torch.stack(costs(same, other)), color=colour, label=label)
    axes.set(xlabel="Euclidean distance", xlim=(0, 2), xticks=(0, 0.5, 1, 1.5, 2), ylabel="loss")
    axes.xaxis.set_major_formatter("{x:g}")


def contrastive(axes: Axes) -> None:
    """Both of its sides, margin 1."""
    costs = lambda pairs: [contrastive_loss(pair, 1.0) for pair in pairs]  # noqa: E731
    over_distance(
        axes,
        {
            "one class": lambda same, other: [positive.total for positive, _ in costs(same)],
            "two classes, margin 1": lambda same, other: [negative.total for _, negative in costs(other)],
        },
    )


def marginal(axes: Axes) -> None:
    """Around its threshold, a squared distance."""
    over_distance(
        axes,
        {
            "one class": lambda same, other: [marginal_loss(pair, 1.2, 0.3).total for pair in same],
            "two classes": lambda same, other: [marginal_loss(pair, 1.2, 0.3).total for pair in other],
        },
    )
    axes.axvline(math.sqrt(1.2), color=PLAIN, linewidth=0.8)


def triplet(axes: Axes) -> None:
    """A positive at distance 1, and a negative at any: the hinges, and the soft margin."""
    distances_A = torch.linspace(0.0, 2.0, 61)
    triplets_T3D = torch.stack([torch.zeros(61), torch.ones(61), -distances_A], dim=1).unsqueeze(2)
    hinges = {"squared, margin 0.2 (FaceNet)": (0.2, True), "soft margin (Hermans)": (None, False)}
    for colour, (label, (margin, squared)) in zip((BLUE, RED), hinges.items(), strict=False):
        losses = [given_triplet_loss(one[None], margin=margin, squared=squared).total for one in triplets_T3D]
        axes.plot(distances_A, torch.stack(losses), color=colour, label=label)
    axes.axvline(1.0, color=PLAIN, linewidth=0.8)
    axes.text(1.03, 1.1, "the positive", fontsize=7)
    axes.set(xlabel="Euclidean distance of the negative", xlim=(0, 2), xticks=(0, 0.5, 1, 1.5, 2), ylabel="loss")
    axes.xaxis.set_major_formatter("{x:g}")


def range_toy(axes: Axes) -> None:
    """Two classes of a batch: the farthest pairs of each shrink, the means of the two nearest move apart."""
    features = torch.tensor(
        [[-2.2, 0.9], [-1.5, 1.9], [-0.7, 0.2], [0.9, -0.5], [1.9, 0.9], [2.0, -1.3]], requires_grad=True
    )
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    ranges = intra_class_ranges(features, labels, 2, squared=True).sum()
    (within,) = torch.autograd.grad(ranges, features, retain_graph=True)
    (between,) = torch.autograd.grad(inter_class_loss(nearest_means(features, labels), 20.0), features)
    for j, colour in enumerate((BLUE, RED)):
        of_class = features.detach()[labels == j]
        axes.plot(*of_class.T, "o", markersize=4, color=colour)
        for x, pull, push in zip(of_class, within[labels == j], between[labels == j], strict=True):
            if pull.any():
                arrow(axes, x, x - 0.35 * pull / pull.norm() * 2.0, colour)
            arrow(axes, x, x - 0.35 * push, GREEN)
    axes.plot([], [], color=PLAIN, label="the two largest distances of a class shrink")
    axes.plot([], [], color=GREEN, label="the nearest classes move apart")
    axes.set(xlim=(-3.4, 3.4), ylim=(-2.9, 2.6), xticks=[], yticks=[], xlabel="")
