"""The Minimum Margin Loss term."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from lightning_face.errors import ConfigError
from lightning_face.losses import ClassRows
from lightning_face.objectives.batch import Reduction, check_reduction
from lightning_face.objectives.loss_value import Facts
from lightning_face.objectives.scope import Scope, ScopedPairs
from lightning_face.tables.centers import Centers

Mode = Literal["A", "B", "C"]

CLOSE_PAIRS, SMALLEST_DISTANCE = "mml_close_pairs", "mml_smallest_distance"
"""Facts that are logged beside the loss: ordered pairs closer than the margin; a distance, not squared."""


@dataclass(frozen=True)
class MinimumMarginConfig:
    """Minimum Margin Loss (Wei et al., arXiv 1805.06741).

    Args:
        weight: the paper's beta; 5e-8 presumes a sum over ordered pairs next to a mean softmax.
        margin: smallest squared distance between two centers that costs nothing, in squared units of the embedding.
        reduction: `sum` over the ordered pairs of the scope, or `mean` over them.
        mode: `A` sends the gradient through the centers' update into the samples that move them; `B` moves the centers
            themselves by `center_rate` times the gradient; `C` only reports the value. The paper does not say which.
        center_rate: step of mode `B`, on the unweighted loss; has no meaning in the other modes.
        scope: the pairs of classes: `batch`, both in the micro-batch (the paper); `batch_vs_all`, at least one, where
            classes are so many that two given ones hardly ever meet in a batch; `all`, any, in mode `B` or `C`. Classes
            that were in no batch yet take no part.
        every_n_steps: how often scope `all` is computed; between, the loss lacks the term and logs keep its last value.
        from_step: steps of the run before the term takes part; the paper begins with a finished center model.
    """

    weight: float = 5e-8
    margin: float = 280.0
    reduction: Reduction = "sum"
    mode: Mode = "A"
    center_rate: float | None = None
    scope: Scope = "batch"
    every_n_steps: int = 1
    from_step: int = 0

    def __post_init__(self) -> None:
        check_reduction("mml", self.reduction)
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mml.mode must be A, B or C, got {self.mode!r}")
        if not 0 <= self.weight < math.inf:  # written so that nan is refused too
            raise ConfigError(f"mml.weight must not be negative, nor infinite, got {self.weight}")
        if not 0 < self.margin < math.inf:
            raise ConfigError(f"mml.margin must be above 0 (a squared distance) and finite, got {self.margin}")
        if (self.mode == "B") != (self.center_rate is not None):
            raise ConfigError(
                f"mml.center_rate belongs to mml.mode B and to no other: mode is {self.mode},"
                f" center_rate is {self.center_rate}; set both or neither"
            )
        if self.center_rate is not None and not 0 < self.center_rate < math.inf:
            raise ConfigError(
                f"mml.center_rate must be above 0 and finite, got {self.center_rate}; `mode: C` moves nothing"
            )
        if self.from_step < 0:
            raise ConfigError(f"mml.from_step must not be negative, got {self.from_step}")
        self._check_scope()

    @property
    def moves_features(self) -> bool:
        """Whether the network feels it."""
        return self.mode == "A" and self.weight > 0

    @property
    def moves_all_centers(self) -> bool:
        """Whether a step buffers a gradient of all rows of centers that a rank holds."""
        return self.mode == "B" and self.scope == "all"

    def _check_scope(self) -> None:
        if self.scope not in get_args(Scope):
            raise ConfigError(f"mml.scope must be one of {', '.join(get_args(Scope))}, got {self.scope!r}")
        if self.scope == "all" and self.mode == "A":
            raise ConfigError(
                "mml.scope all needs mml.mode B or C, got A: most of its pairs have no sample in the batch to send a"
                " gradient to; `scope: batch_vs_all` works in mode A"
            )
        if self.every_n_steps < 1:
            raise ConfigError(f"mml.every_n_steps must be at least 1, got {self.every_n_steps}")
        if self.every_n_steps > 1 and self.scope != "all":
            raise ConfigError(
                f"mml.every_n_steps belongs to mml.scope all and to no other: scope is {self.scope}, every_n_steps is"
                f" {self.every_n_steps}; leave it out"
            )


class MinimumMarginTerm:
    """Pushes apart the centers of classes; those of the micro-batch are taken where Wen's rule moves them.

    It is no sum over samples: under accumulation each micro-batch is seen alone.
    """

    name = "mml"

    def __init__(self, config: MinimumMarginConfig, centers: Centers) -> None:
        self.weight = config.weight
        self._config = config
        self._centers = centers

    @property
    def differentiable(self) -> bool:
        """Whether features receive a gradient from this term."""
        return self._config.mode == "A"

    @property
    def is_due(self) -> bool:
        """Whether the term takes part in the current step: in each n-th, once it has begun."""
        step = self._centers.num_steps
        return step >= self._config.from_step and (step + 1) % self._config.every_n_steps == 0

    def part(self, classes_U: Tensor, moved_UD: Tensor, facts: Facts) -> Tensor:
        """This rank's part; every rank calls.

        Args:
            classes_U: of the global batch, int64, sorted.
            moved_UD: their centers after Wen's rule.
            facts: where to say how close the pairs are.
        """
        pairs = self._pairs(classes_U, moved_UD.detach())
        pairs.add_own(gradient=self.differentiable)
        facts.added[CLOSE_PAIRS] = pairs.sums.num_close.float()
        facts.least[SMALLEST_DISTANCE] = pairs.sums.smallest_square.sqrt().float()
        return pairs.sums.at(moved_UD, self._factor(pairs))

    def push_centers(self, classes_U: Tensor) -> None:
        """Mode B: move the centers of the scope around `classes_U` down the gradient of the unweighted loss."""
        if self._config.center_rate is None:
            return
        pairs = self._pairs(classes_U, self._centers.rows_of(classes_U))
        pairs.push(self._config.center_rate * self._factor(pairs))

    def _pairs(self, classes_U: Tensor, rows_UD: Tensor) -> ScopedPairs:
        return ScopedPairs(self._centers, ClassRows(classes_U, rows_UD), self._config.margin, self._config.scope)

    def _factor(self, pairs: ScopedPairs) -> float:
        return 1.0 / max(pairs.count(), 1) if self._config.reduction == "mean" else 1.0
