"""Pair and triplet losses as the papers' equations, in loops over samples: what the fast ones must equal.

All take features (G, D) of any floating dtype and labels, and return single costs, of ordered pairs or of triplets.
"""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

Labels = Sequence[int]
Triplet = tuple[int, int, int]
"""Places of anchor, positive and negative."""


def square(x: Tensor, y: Tensor) -> Tensor:
    return torch.dot(x - y, x - y)


def size(value: Tensor) -> float:
    """What is compared, without a gradient."""
    return float(value.detach())


def root(value: Tensor) -> Tensor:
    """A square root whose gradient is 0 at 0."""
    return torch.sqrt(value) if value > 0 else 0.0 * value


def unit(features: Tensor) -> Tensor:
    return torch.stack([x / torch.sqrt(torch.dot(x, x)) for x in features])


def positive_pairs(labels: Labels) -> list[tuple[int, int]]:
    return [(i, j) for i, j in itertools.permutations(range(len(labels)), 2) if labels[i] == labels[j]]


def negative_pairs(labels: Labels) -> list[tuple[int, int]]:
    return [(i, j) for i, j in itertools.permutations(range(len(labels)), 2) if labels[i] != labels[j]]


def hinge(value: Tensor) -> Tensor:
    return torch.clamp(value, min=0.0)


def contrastive(features: Tensor, labels: Labels, margin: float) -> tuple[list[Tensor], list[Tensor]]:
    """Hadsell et al., equation 4: (1 - Y) 1/2 D^2 + Y 1/2 max(0, m - D)^2; costs with Y = 0, and with Y = 1."""
    positive = [square(features[i], features[j]) / 2 for i, j in positive_pairs(labels)]
    negative = [hinge(margin - root(square(features[i], features[j]))) ** 2 / 2 for i, j in negative_pairs(labels)]
    return positive, negative


def separating_distance(features: Tensor, labels: Labels) -> float:
    """The smallest d with the lowest sum of the share of positive pairs beyond it and of negative ones within it."""
    d = {(i, j): size(square(features[i], features[j])) for i, j in itertools.product(range(len(labels)), repeat=2)}
    positive, negative = positive_pairs(labels), negative_pairs(labels)
    if not positive or not negative:
        return min(d.values()) ** 0.5

    def errors(threshold: float) -> Fraction:
        missed = Fraction(sum(d[pair] > threshold for pair in positive), len(positive))
        return missed + Fraction(sum(d[pair] <= threshold for pair in negative), len(negative))

    return min(sorted(d.values()), key=errors) ** 0.5


def marginal(features: Tensor, labels: Labels, threshold: float, margin: float) -> list[Tensor]:
    """Deng et al.: (xi - y (theta - d^2))_+ for all i != j."""
    signs = [(pair, 1) for pair in positive_pairs(labels)] + [(pair, -1) for pair in negative_pairs(labels)]
    return [hinge(margin - y * (threshold - square(features[i], features[j]))) for (i, j), y in signs]


def triplets(features: Tensor, labels: Labels, mining: str) -> list[Triplet]:
    """The triplets that a way of mining chooses; `offline` takes those that stand side by side."""
    if mining == "offline":
        return [(a, a + 1, a + 2) for a in range(0, len(labels), 3)]
    d = [[size(square(x, y)) for y in features] for x in features]
    negatives = {a: [n for n in range(len(labels)) if labels[n] != labels[a]] for a in range(len(labels))}
    every = [(a, p, n) for a, p in positive_pairs(labels) for n in negatives[a]]
    if mining == "batch_all":
        return every
    if mining == "semi_hard":
        every = [(a, p, n) for a, p, n in every if d[a][p] < d[a][n]]
    if mining in ("semi_hard", "hardest_negative"):
        best = {pair: min(n for n in every if n[:2] == pair) for pair in {t[:2] for t in every}}
        for a, p, n in every:
            if d[a][n] < d[a][best[a, p][2]]:
                best[a, p] = (a, p, n)
        return sorted(best.values())
    assert mining == "batch_hard"
    hardest = {}
    for a, p, n in every:
        _, other_p, other_n = hardest.get(a, (a, p, n))
        hardest[a] = (a, max(p, other_p, key=lambda j: d[a][j]), min(n, other_n, key=lambda j: d[a][j]))
    return list(hardest.values())


def hardest(features: Tensor, labels: Labels, anchors: Sequence[int]) -> list[Triplet]:
    """Schroff et al., section 3.2: argmax over the anchor's class, argmin over all others; the first of equals."""

    def hardest_of(a: int) -> Triplet:
        squares = [size(square(features[a], other)) for other in features]
        positives = [p for p in range(len(labels)) if labels[p] == labels[a] and p != a] or [a]
        negatives = [n for n in range(len(labels)) if labels[n] != labels[a]]
        return a, max(positives, key=lambda p: squares[p]), min(negatives, key=lambda n: squares[n])

    return [hardest_of(a) for a in anchors]


def triplet(features: Tensor, labels: Labels, mining: str, margin: float | None, *, squared: bool) -> list[Tensor]:
    """Schroff et al., equation 3; Hermans et al., equations 1, 5 and 6, and their soft margin where it is None."""

    def distance(i: int, j: int) -> Tensor:
        value = square(features[i], features[j])
        return value if squared else root(value)

    costs = []
    for a, p, n in triplets(features, labels, mining):
        excess = distance(a, p) - distance(a, n)
        costs.append(torch.log(1 + torch.exp(excess)) if margin is None else hinge(excess + margin))
    return costs


def ranges(features: Tensor, labels: Labels, num_largest: int, *, squared: bool) -> list[Tensor]:
    """Zhang et al.: k / sum_j 1 / D_j over the k largest distances of each class with several samples."""
    result = []
    for label in sorted(set(labels)):
        members = [x for x, y in zip(features, labels, strict=True) if y == label]
        squares = [square(x, y) for x, y in itertools.combinations(members, 2)]
        distances = [value if squared else root(value) for value in squares]
        largest = sorted(distances, key=size)[::-1][:num_largest]
        if largest:
            harmonic = len(largest) / sum(1 / value for value in largest) if min(largest) > 0 else 0.0 * sum(largest)
            result.append(harmonic)
    return result


def nearest_means(features: Tensor, labels: Labels) -> Tensor:
    """Squared distance of the two classes whose means are nearest to one another."""
    means = [
        torch.stack([x for x, y in zip(features, labels, strict=True) if y == label]).mean(0)
        for label in sorted(set(labels))
    ]
    squares = [square(x, y) for x, y in itertools.combinations(means, 2)]
    return min(squares, key=size, default=features.new_tensor(torch.inf))


def reduced(costs: list[Tensor], reduction: str) -> Tensor | float:
    """A sum; a mean; a mean over those that are not 0."""
    over = {"sum": 1, "mean": len(costs), "mean_nonzero": sum(size(cost) != 0 for cost in costs)}
    return sum(costs) / max(over[reduction], 1)
