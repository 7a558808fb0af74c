"""UniFace."""

import math

from torch import Tensor
from torch.nn import functional as F

from lightning_face.losses.heads.base import CosineHead, Samples, State, check, scalar
from lightning_face.losses.heads.margins import check_difference
from lightning_face.losses.reductions import SoftplusSum


class UniFace(CosineHead):
    """One threshold for all pairs: softplus(b - s (cos(theta_y) - m)) + lambda sum_j softplus(s cos(theta_j) - b).

    b is learned, by the rows' optimizer and learning rate, weight decay included, as in the authors' code; their
    clamping of logits at s, which stops gradients there, is left out.

    State: `bias`, b, ln(10 C) at first, where C counts the classes that a step sees; logged as `uniface_bias`.

    Args:
        scale: s.
        margin: m, a difference of cosines in [0, 1].
        negative_weight: lambda; 1 in the authors' code.

    Source:
        Zhou et al., "UniFace: Unified Cross-Entropy Loss for Deep Face Recognition", ICCV 2023;
        github.com/CVI-SZU/UniFace, head.py at d3f1a60.
    """

    reduction = SoftplusSum

    def __init__(self, scale: float = 64.0, margin: float = 0.4, negative_weight: float = 1.0) -> None:
        super().__init__(scale)
        check_difference("margin", margin)
        check("negative_weight", negative_weight, 0.0 < negative_weight < math.inf, "above 0")
        self.margin = margin
        self.negative_weight = negative_weight

    def initial_state(self, num_seen: float) -> State:
        """See `Head.initial_state`."""
        return {"bias": scalar(math.log(10.0 * num_seen))}

    def facts(self, state: State) -> dict[str, Tensor]:
        """See `Head.facts`."""
        return {"uniface_bias": state["bias"]}

    def bias(self, state: State) -> Tensor:
        """See `Head.bias`."""
        return -state["bias"]

    def margined(self, cosines_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `CosineHead.margined`."""
        return cosines_B - self.margin

    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `Head.losses`."""
        margined_B = self.scale * self.margined(targets_B, samples, state)
        return F.softplus(state["bias"] - margined_B) + self.negative_weight * negatives_B
