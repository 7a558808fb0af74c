"""The papers' equations as loops over samples and pairs in float64, on one process: what fast paths must equal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_face.losses import Scoring, SoftplusSum
from lightning_face.objectives.batch import Reduction
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.scope import Scope
from lightning_face.optim.row_config import RowOptimizerConfig

Batch = tuple[Tensor, Tensor]
"""Features (G, D) and labels (G,) of one micro-batch of all ranks."""

Rows = dict[int, Tensor]
"""Centers by class."""

Weighted = dict[str, tuple[float, Tensor]]
"""Weight and unweighted value of each term."""


def value_of(x: Tensor, rows_of_class: Tensor, *, unit_rows: bool = False) -> Tensor:
    """The largest inner product of x with a class's row (D,) or rows (K, D)."""
    rows = rows_of_class.reshape(-1, len(x))
    return torch.stack([torch.dot(x, row / row.norm() if unit_rows else row) for row in rows]).max()


def scores_of(
    features: Tensor, labels: Tensor, rows: Tensor, scoring: Scoring, seen: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """What `Scoring.scores` defines, one sample and one class at a time; each sample has a negative.

    Args:
        seen: classes that are scored against; None for all.
    """
    targets, numbers = [], []
    for x, y in zip(features, labels.tolist(), strict=True):
        target = value_of(x, rows[y], unit_rows=scoring.unit_rows)
        number = torch.zeros_like(target)
        for j in range(len(rows)) if seen is None else seen:
            value = value_of(x, rows[j], unit_rows=scoring.unit_rows)
            if j == y or (scoring.filter_above is not None and value > scoring.filter_above):
                continue
            logit = value if scoring.negatives is None else scoring.negatives(value, target)
            power = torch.exp(logit if scoring.bias is None else logit + scoring.bias)
            number = number + (torch.log(1.0 + power) if scoring.reduction is SoftplusSum else power)
        targets.append(target)
        numbers.append(number if scoring.reduction is SoftplusSum else torch.log(number))
    return torch.stack(targets), torch.stack(numbers)


def is_first_of(
    features: Tensor, labels: Tensor, rows: Tensor, scoring: Scoring, seen: Sequence[int] | None = None
) -> Tensor:
    """Which samples have a larger logit with their own class, were it a negative, than with any other class seen."""

    def logit_of(value: Tensor, target: Tensor) -> Tensor:
        return value if scoring.negatives is None else scoring.negatives(value, target)

    are_first = []
    for x, y in zip(features, labels.tolist(), strict=True):
        target = value_of(x, rows[y], unit_rows=scoring.unit_rows)
        others = [j for j in (range(len(rows)) if seen is None else seen) if j != y]
        values = [value_of(x, rows[j], unit_rows=scoring.unit_rows) for j in others]
        kept = [value for value in values if scoring.filter_above is None or value <= scoring.filter_above]
        are_first.append(all(logit_of(target, target) > logit_of(value, target) for value in kept))
    return torch.tensor(are_first)


def means_of_buckets(name: str, buckets: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Mean of all values, and of those of each bucket that has any, by name."""
    chosen = {name: values} | {
        f"{name}_{bucket}": [value for value, other in zip(values, buckets, strict=True) if other == bucket]
        for bucket in sorted(set(buckets))
    }
    return {key: sum(some) / len(some) for key, some in chosen.items() if some}


def softmax_sum(features: Tensor, labels: Tensor, classifier: Tensor) -> Tensor:
    """Wen et al., equation 1: -sum_i log(exp(w_{y_i} x_i) / sum_j exp(w_j x_i)), w the best row of a class."""
    total = features.new_zeros(())
    for x, y in zip(features, labels.tolist(), strict=True):
        exponentials = [torch.exp(value_of(x, w)) for w in classifier]
        total = total - torch.log(exponentials[y] / sum(exponentials))
    return total


def center_sum(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Wen et al., equation 2: 1/2 sum_i ||x_i - c_{y_i}||^2."""
    total = features.sum() * 0.0  # can be differentiated even where there is no sample
    for x, y in zip(features, labels.tolist(), strict=True):
        total = total + 0.5 * torch.dot(x - centers[y], x - centers[y])
    return total


def moved(centers: Tensor, batches: Sequence[Batch], rate: float, without_center: Iterable[int] = ()) -> Rows:
    """Wen et al., equation 4: c_j - rate * sum_i [y_i = j] (c_j - x_i) / (1 + sum_i [y_i = j]).

    Args:
        without_center: classes whose center is the mean of their samples instead.
    """
    samples = [(x, y) for features, labels in batches for x, y in zip(features, labels.tolist(), strict=True)]
    rows = {}
    for j in sorted({y for _, y in samples}):
        of_class = [x for x, y in samples if y == j]
        if j in without_center:
            rows[j] = sum(of_class) / len(of_class)
        else:
            rows[j] = centers[j] - rate * sum(centers[j] - x for x in of_class) / (1 + len(of_class))
    return rows


def pairs_in_scope(classes: Iterable[int], batch: Iterable[int], scope: Scope) -> list[tuple[int, int]]:
    """Ordered pairs of different classes of which both, at least one, or any are in the batch."""
    needed, batch = {"batch": 2, "batch_vs_all": 1, "all": 0}[scope], set(batch)
    return [(i, j) for i in classes for j in classes if i != j and (i in batch) + (j in batch) >= needed]


def squared_distance(rows: Rows, pair: tuple[int, int]) -> Tensor:
    difference = rows[pair[0]] - rows[pair[1]]
    return torch.dot(difference, difference)


def margin_sum(rows: Rows, pairs: Sequence[tuple[int, int]], margin: float) -> Tensor:
    """Wei et al.: sum over pairs i != j of max(margin - ||c_i - c_j||^2, 0)."""
    total = 0.0 * sum(row.sum() for row in rows.values())  # can be differentiated even where there is no pair
    for pair in pairs:
        total = total + torch.clamp(margin - squared_distance(rows, pair), min=0.0)
    return total


@dataclass
class StepOfOracle:
    """What one optimizer step gave.

    Args:
        terms: of each micro-batch, each term's unweighted value.
        facts: of each micro-batch, ordered pairs closer than MML's margin, and their smallest distance.
        totals: of each micro-batch, the weighted sum.
        feature_gradients: of each micro-batch, of the step's loss.
    """

    terms: list[dict[str, float]] = field(default_factory=list)
    facts: list[dict[str, float]] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    feature_gradients: list[Tensor] = field(default_factory=list)


class Oracle:
    """The objective on one process; starts from the rows it is given.

    Args:
        config: the terms.
        centers: (C, D), before the first step; None without centers.
        classifier: (C, D) or (C, K, D), before the first step; None without softmax.
        buckets: name of the bucket of each class, to have the facts of the centers by bucket.
    """

    def __init__(
        self,
        config: ObjectiveConfig,
        centers: Tensor | None,
        classifier: Tensor | None,
        buckets: Sequence[str] | None = None,
    ) -> None:
        self.config = config
        self.buckets = buckets
        self.centers = None if centers is None else centers.double().clone()
        self.moved_at: dict[int, int] = {}  # the step in which a class's center last moved
        self.num_steps = 0
        if config.softmax is not None:
            assert classifier is not None
            self.classifier = torch.nn.Parameter(classifier.double().clone())
            self.optimizer = optimizer_of(config.softmax.optimizer, self.classifier)

    def step(self, batches: Sequence[Batch], learning_rate: float) -> StepOfOracle:
        """One optimizer step over the micro-batches."""
        result = StepOfOracle()
        doubles = [(features.double().requires_grad_(), labels) for features, labels in batches]
        for number, (features, labels) in enumerate(doubles):
            terms, facts = self._terms(features, labels, len(batches))
            if self.buckets is not None:
                facts |= self._facts_by_bucket(doubles[: number + 1])
            total = sum(weight * value for weight, value in terms.values())
            (total / len(batches)).backward()
            result.terms.append({name: float(value.detach()) for name, (_, value) in terms.items()})
            result.facts.append(facts)
            result.totals.append(float(total.detach()))
            result.feature_gradients.append(features.grad)
        if self.config.softmax is not None:
            self.optimizer.param_groups[0]["lr"] = learning_rate * self.config.softmax.optimizer.lr_multiplier
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.centers is not None:
            self._move_centers([(features.detach(), labels) for features, labels in doubles])
        self.num_steps += 1
        return result

    def centers_state(self) -> dict[str, Tensor]:
        """The centers as a checkpoint holds them."""
        moved_at = torch.tensor([self.moved_at.get(j, -1) for j in range(len(self.centers))])
        return {"centers": self.centers, "centers.moved_at": moved_at, "centers.step": torch.tensor(self.num_steps)}

    def momentum(self) -> dict[str, Tensor]:
        """The optimizer's state of the classifier."""
        return self.optimizer.state[self.classifier]

    def _terms(self, features: Tensor, labels: Tensor, accumulation: int) -> tuple[Weighted, dict[str, float]]:
        def over_samples(value: Tensor, reduction: Reduction) -> Tensor:
            return value / len(labels) if reduction == "mean" else value * accumulation

        seen = self._seen(features)
        softmax, center, mml = self.config.softmax, self.config.center, self.config.mml
        terms, facts = {}, {}
        if softmax is not None:
            value = softmax_sum(features, labels, self.classifier)
            terms["softmax"] = (softmax.weight, over_samples(value, softmax.reduction))
        if center is not None:
            known = torch.tensor([y not in self._without_center() for y in labels.tolist()])
            value = center_sum(seen[known], labels[known], self.centers)
            terms["center"] = (center.weight, over_samples(value, center.reduction))
        if mml is not None and self._mml_is_due():
            through = seen if mml.mode == "A" else seen.detach()
            batch = moved(self.centers, [(through, labels)], center.rate, self._without_center())
            rows = {j: self.centers[j] for j in self.moved_at} | batch
            pairs = pairs_in_scope(rows, batch, mml.scope)
            terms["mml"], facts = (mml.weight, self._margin(rows, pairs)), self._facts(rows, pairs)
        return terms, facts

    def _seen(self, features: Tensor) -> Tensor:
        """Features as the centers see them."""
        if self.config.center is None or not self.config.center.normalise:
            return features
        return torch.stack([x / torch.sqrt(torch.dot(x, x)) for x in features])

    def _without_center(self) -> set[int]:
        first_seen = self.config.center.init == "first_seen"
        return set(range(len(self.centers))) - set(self.moved_at) if first_seen else set()

    def _mml_is_due(self) -> bool:
        has_begun = self.num_steps >= self.config.mml.from_step
        return has_begun and (self.num_steps + 1) % self.config.mml.every_n_steps == 0

    def _margin(self, rows: Rows, pairs: Sequence[tuple[int, int]]) -> Tensor:
        value = margin_sum(rows, pairs, self.config.mml.margin)
        return value / max(len(pairs), 1) if self.config.mml.reduction == "mean" else value

    def _facts(self, rows: Rows, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
        squares = [float(squared_distance(rows, pair).detach()) for pair in pairs]
        num_close = sum(square < self.config.mml.margin for square in squares)
        return {"mml_close_pairs": num_close, "mml_smallest_distance": min(squares, default=torch.inf) ** 0.5}

    def _facts_by_bucket(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Of the last of the step's micro-batches so far: center loss of its samples, and how far centers would go."""
        seen = [(self._seen(features.detach()), labels) for features, labels in batches]
        known = [(x, y) for x, y in zip(*seen[-1], strict=True) if int(y) not in self._without_center()]
        each = [float(center_sum(x[None], y[None], self.centers)) for x, y in known]
        facts = means_of_buckets("center", [self.buckets[int(y)] for _, y in known], each)
        facts.pop("center", None)  # a term
        rows = moved(self.centers, seen, self.config.center.rate, self._without_center())
        distances = {j: float((row - self.centers[j]).norm()) for j, row in rows.items()}
        distances = {j: distance for j, distance in distances.items() if j not in self._without_center()}
        buckets = [self.buckets[j] for j in distances]
        return facts | means_of_buckets("displacement", buckets, list(distances.values()))

    def _move_centers(self, batches: Sequence[Batch]) -> None:
        seen = [(self._seen(features), labels) for features, labels in batches]
        batch = moved(self.centers, seen, self.config.center.rate, self._without_center())
        self.moved_at |= dict.fromkeys(batch, self.num_steps)
        rows, mml = batch, self.config.mml
        if mml is not None and mml.mode == "B" and self._mml_is_due():
            rows = {j: self.centers[j] for j in self.moved_at} | batch
            rows = {j: row.clone().requires_grad_() for j, row in rows.items()}
            self._margin(rows, pairs_in_scope(rows, batch, mml.scope)).backward()
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
    actual, expected = (torch.as_tensor(value).detach().cpu().double() for value in (actual, expected))
    assert actual.shape == expected.shape
    difference, magnitude = (actual - expected).abs().max(), expected.abs().max()
    assert difference <= tolerance * magnitude, f"{float(difference):.2e} apart, magnitude {float(magnitude):.2e}"
