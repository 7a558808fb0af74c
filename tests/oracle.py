"""The papers' equations as loops over samples and pairs in float64, on one process: what fast paths must equal."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_face.objectives.batch import Reduction
from lightning_face.objectives.objective import ObjectiveConfig
from lightning_face.optim.row_config import RowOptimizerConfig

Batch = tuple[Tensor, Tensor]
"""Features (G, D) and labels (G,) of one micro-batch of all ranks."""

Rows = dict[int, Tensor]
"""Center of each class of a batch, by class, in ascending order."""


def softmax_sum(features: Tensor, labels: Tensor, classifier: Tensor) -> Tensor:
    """Wen et al., equation 1: -sum_i log(exp(w_{y_i} x_i) / sum_j exp(w_j x_i))."""
    total = features.new_zeros(())
    for x, y in zip(features, labels.tolist(), strict=True):
        exponentials = [torch.exp(torch.dot(w, x)) for w in classifier]
        total = total - torch.log(exponentials[y] / sum(exponentials))
    return total


def center_sum(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Wen et al., equation 2: 1/2 sum_i ||x_i - c_{y_i}||^2."""
    total = features.new_zeros(())
    for x, y in zip(features, labels.tolist(), strict=True):
        total = total + 0.5 * torch.dot(x - centers[y], x - centers[y])
    return total


def moved(centers: Tensor, batches: Sequence[Batch], rate: float) -> Rows:
    """Wen et al., equation 4: c_j - rate * sum_i [y_i = j] (c_j - x_i) / (1 + sum_i [y_i = j])."""
    samples = [(x, y) for features, labels in batches for x, y in zip(features, labels.tolist(), strict=True)]
    rows = {}
    for j in sorted({y for _, y in samples}):
        offsets = [centers[j] - x for x, y in samples if y == j]
        rows[j] = centers[j] - rate * sum(offsets) / (1 + len(offsets))
    return rows


def margin_sum(rows: Rows, margin: float) -> Tensor:
    """Wei et al.: sum over ordered pairs i != j of max(margin - ||c_i - c_j||^2, 0)."""
    total = 0.0 * sum(row.sum() for row in rows.values())  # can be differentiated even where there is no pair
    for i, first in rows.items():
        for j, second in rows.items():
            if i != j:
                total = total + torch.clamp(margin - torch.dot(first - second, first - second), min=0.0)
    return total


@dataclass
class StepOfOracle:
    """What one optimizer step gave.

    Args:
        terms: of each micro-batch, each term's unweighted value.
        totals: of each micro-batch, the weighted sum.
        feature_gradients: of each micro-batch, of the step's loss.
    """

    terms: list[dict[str, float]] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    feature_gradients: list[Tensor] = field(default_factory=list)


class Oracle:
    """The objective on one process; starts from the rows it is given.

    Args:
        config: the terms.
        centers: (C, D), before the first step; None without centers.
        classifier: (C, D), before the first step; None without softmax.
    """

    def __init__(self, config: ObjectiveConfig, centers: Tensor | None, classifier: Tensor | None) -> None:
        self.config = config
        self.centers = None if centers is None else centers.double().clone()
        if config.softmax is not None:
            assert classifier is not None
            self.classifier = torch.nn.Parameter(classifier.double().clone())
            self.optimizer = optimizer_of(config.softmax.optimizer, self.classifier)

    def step(self, batches: Sequence[Batch], learning_rate: float) -> StepOfOracle:
        """One optimizer step over the micro-batches."""
        result = StepOfOracle()
        doubles = [(features.double().requires_grad_(), labels) for features, labels in batches]
        for features, labels in doubles:
            terms = self._terms(features, labels, len(batches))
            total = sum(weight * value for weight, value in terms.values())
            (total / len(batches)).backward()
            result.terms.append({name: float(value.detach()) for name, (_, value) in terms.items()})
            result.totals.append(float(total.detach()))
            result.feature_gradients.append(features.grad)
        if self.config.softmax is not None:
            self.optimizer.param_groups[0]["lr"] = learning_rate * self.config.softmax.optimizer.lr_multiplier
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.centers is not None:
            self._move_centers([(features.detach(), labels) for features, labels in doubles])
        return result

    def momentum(self) -> dict[str, Tensor]:
        """The optimizer's state of the classifier."""
        return self.optimizer.state[self.classifier]

    def _terms(self, features: Tensor, labels: Tensor, accumulation: int) -> dict[str, tuple[float, Tensor]]:
        def over_samples(value: Tensor, reduction: Reduction) -> Tensor:
            return value / len(labels) if reduction == "mean" else value * accumulation

        softmax, center, mml = self.config.softmax, self.config.center, self.config.mml
        terms = {}
        if softmax is not None:
            value = softmax_sum(features, labels, self.classifier)
            terms["softmax"] = (softmax.weight, over_samples(value, softmax.reduction))
        if center is not None:
            value = center_sum(features, labels, self.centers)
            terms["center"] = (center.weight, over_samples(value, center.reduction))
        if mml is not None:
            through = features if mml.mode == "A" else features.detach()
            value = self._margin(moved(self.centers, [(through, labels)], center.rate))
            terms["mml"] = (mml.weight, value)
        return terms

    def _margin(self, rows: Rows) -> Tensor:
        pairs = len(rows) * (len(rows) - 1)
        value = margin_sum(rows, self.config.mml.margin)
        return value / max(pairs, 1) if self.config.mml.reduction == "mean" else value

    def _move_centers(self, batches: Sequence[Batch]) -> None:
        rows = moved(self.centers, batches, self.config.center.rate)
        mml = self.config.mml
        if mml is not None and mml.mode == "B":
            rows = {j: row.requires_grad_() for j, row in rows.items()}
            self._margin(rows).backward()
            rows = {j: (row - mml.center_rate * row.grad).detach() for j, row in rows.items()}
        for j, row in rows.items():
            self.centers[j] = row


def optimizer_of(config: RowOptimizerConfig, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
    """torch's own optimizer with the options of a table's."""
    if config.kind == "sgd":
        return torch.optim.SGD([parameter], lr=1.0, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.AdamW([parameter], lr=1.0, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)


def assert_close(actual: Tensor | float, expected: Tensor | float, tolerance: float = 1e-5) -> None:
    """The largest difference is at most `tolerance` of the largest expected magnitude."""
    actual, expected = (torch.as_tensor(value).detach().double() for value in (actual, expected))
    assert actual.shape == expected.shape
    difference, magnitude = (actual - expected).abs().max(), expected.abs().max()
    assert difference <= tolerance * magnitude, f"{float(difference):.2e} apart, magnitude {float(magnitude):.2e}"
