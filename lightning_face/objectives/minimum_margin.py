"""The Minimum Margin Loss term."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import ConfigError
from lightning_face.losses import minimum_margin_loss
from lightning_face.objectives.batch import Reduction, check_reduction
from lightning_face.tables.centers import Centers

Mode = Literal["A", "B", "C"]


@dataclass(frozen=True)
class MinimumMarginConfig:
    """Minimum Margin Loss over the classes of a batch (Wei et al., arXiv 1805.06741).

    Args:
        weight: the paper's beta; 5e-8 presumes a sum over ordered pairs next to a mean softmax.
        margin: smallest squared distance between two centers that costs nothing, in squared units of the embedding.
        reduction: `sum` over ordered pairs of the micro-batch's classes, or `mean` over them.
        mode: `A` sends the gradient through the centers' update into the samples that move them; `B` moves the centers
            themselves by `center_rate` times the gradient; `C` only reports the value. The paper does not say which.
        center_rate: step of mode `B`, on the unweighted loss; has no meaning in the other modes.
    """

    weight: float = 5e-8
    margin: float = 280.0
    reduction: Reduction = "sum"
    mode: Mode = "A"
    center_rate: float | None = None

    def __post_init__(self) -> None:
        check_reduction("mml", self.reduction)
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mml.mode must be A, B or C, got {self.mode!r}")
        if not self.weight >= 0:  # written so that nan is refused too
            raise ConfigError(f"mml.weight must not be negative, got {self.weight}")
        if not self.margin > 0:
            raise ConfigError(f"mml.margin must be above 0 (a squared distance), got {self.margin}")
        if (self.mode == "B") != (self.center_rate is not None):
            raise ConfigError(
                f"mml.center_rate belongs to mml.mode B and to no other: mode is {self.mode},"
                f" center_rate is {self.center_rate}; set both or neither"
            )
        if self.center_rate is not None and not self.center_rate > 0:
            raise ConfigError(f"mml.center_rate must be above 0, got {self.center_rate}; `mode: C` moves nothing")


class MinimumMarginTerm:
    """Pushes apart the centers of a micro-batch's classes, taken where Wen's rule moves them.

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

    def part(self, moved_UD: Tensor) -> Tensor:
        """This rank's part: the ordered pairs whose first member is in its block of the batch's classes.

        Args:
            moved_UD: centers of the global batch's classes after Wen's rule.
        """
        num_classes = len(moved_UD)
        first = num_classes * rank() // world_size()
        num_rows = num_classes * (rank() + 1) // world_size() - first
        moved_UD = moved_UD if self.differentiable else moved_UD.detach()
        return minimum_margin_loss(moved_UD, self._config.margin, first, num_rows) * self._pair_factor(num_classes)

    def push_centers(self, classes_U: Tensor) -> None:
        """Mode B: move the rows of `classes_U` down the gradient of the unweighted loss; nothing in other modes."""
        if self._config.center_rate is None:
            return
        rows_UD = self._centers.rows_of(classes_U).requires_grad_()
        loss = minimum_margin_loss(rows_UD, self._config.margin) * self._pair_factor(len(classes_U))
        (gradient_UD,) = torch.autograd.grad(loss, rows_UD)
        self._centers.assign(classes_U, rows_UD.detach() - self._config.center_rate * gradient_UD)

    def _pair_factor(self, num_classes: int) -> float:
        pairs = num_classes * (num_classes - 1)
        return 1.0 / max(pairs, 1) if self._config.reduction == "mean" else 1.0
