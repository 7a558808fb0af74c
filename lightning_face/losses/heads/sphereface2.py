"""SphereFace2."""

import math
from functools import partial

from torch import Tensor
from torch.nn import functional as F

from lightning_face.losses.heads.base import Head, Samples, State, check, scalar
from lightning_face.losses.heads.margins import Gradient, check_difference, check_gradient, with_gradient
from lightning_face.losses.reductions import SoftplusSum
from lightning_face.losses.scoring import Elementwise


class SphereFace2(Head):
    """Binary classification, SphereFace2-C: each class says of each sample whether it is its own.

    w/r softplus(-r (g(cos(theta_y)) - m) - b) + (1 - w)/r sum_j softplus(r (g(cos(theta_j)) + m) + b), where
    g(z) = 2 ((z + 1) / 2)^t - 1 spreads similarities, r is the scale and w the weight of the own class. Its
    variants A (an angle as margin) and M (a factor of the angle) are not here.

    b is learned, by the rows' optimizer and learning rate, weight decay included. At first it balances the own class
    and the others at right angles.

    The authors' code has these defaults and multiplies the loss by 50: so does `softmax.weight: 50`. Their configs for
    VGGFace2 multiply it by 10; the one for MS1M with iresnet100 by 50, with r 64, m 0.5 and w 0.8.

    State: `bias`, b; logged as `sphereface2_bias`.

    Args:
        scale: r.
        margin: m, a difference of similarities in [0, 1].
        power: t, at least 1.
        positive_weight: w, the paper's lambda, in (0, 1).
        gradient: exact, or straight_through: similarities g(z) have the gradient of z, for all classes. The authors'
            class SphereFace2 (sphereface2.py at 9d53d28) computes it so, their SphereFace2C (sphereface2c.py at
            cdb62a1) exactly; their configs name the one or the other.

    Source:
        Wen et al., "SphereFace2: Binary Classification is All You Need for Deep Face Recognition", ICLR 2022;
        github.com/ydwen/opensphere, model/head and config.
    """

    reduction = SoftplusSum

    def __init__(
        self,
        scale: float = 40.0,
        margin: float = 0.4,
        power: float = 3.0,
        positive_weight: float = 0.7,
        gradient: Gradient = "exact",
    ) -> None:
        check("scale", scale, 0.0 < scale < math.inf, "above 0")
        check_difference("margin", margin)
        check("power", power, 1.0 <= power < math.inf, "at least 1")
        check("positive_weight", positive_weight, 0.0 < positive_weight < 1.0, "in (0, 1)")
        check_gradient(gradient)
        self.scale = scale
        self.margin = margin
        self.power = power
        self.positive_weight = positive_weight
        self.gradient = gradient

    def initial_state(self, num_seen: float) -> State:
        """See `Head.initial_state`; the authors' formula, of ratios that may be beyond a float's range."""
        z = self.positive_weight / ((1.0 - self.positive_weight) * max(num_seen - 1.0, 1.0))
        right_angle = 2.0 * 0.5**self.power - 1.0
        own, other = self.scale * (right_angle - self.margin), self.scale * (right_angle + self.margin)
        root = math.sqrt((1.0 - z) ** 2 + 4.0 * z * math.exp(own - other))
        # log(1 - z + root), of which z above 1 would leave no digits.
        log_sum = math.log(1.0 - z + root) if z <= 1.0 else math.log(4.0 * z) + own - other - math.log(root + z - 1.0)
        return {"bias": scalar(math.log(2.0 * z) - other - log_sum)}

    def negatives(self, state: State) -> Elementwise:
        """See `Head.negatives`."""
        return partial(_logits, self.scale, self.margin, self.power, self.gradient)

    def facts(self, state: State) -> dict[str, Tensor]:
        """See `Head.facts`."""
        return {"sphereface2_bias": state["bias"]}

    def bias(self, state: State) -> Tensor:
        """See `Head.bias`."""
        return state["bias"]

    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `Head.losses`."""
        own_B = F.softplus(-self.scale * (_spread(targets_B, self.power, self.gradient) - self.margin) - state["bias"])
        return (self.positive_weight * own_B + (1.0 - self.positive_weight) * negatives_B) / self.scale


def _logits(
    scale: float, margin: float, power: float, gradient: Gradient, values_BR: Tensor, targets_B1: Tensor
) -> Tensor:
    return scale * (_spread(values_BR, power, gradient) + margin)


def _spread(cosines: Tensor, power: float, gradient: Gradient) -> Tensor:
    spread = 2.0 * ((cosines + 1.0) / 2.0).clamp_min(0.0) ** power - 1.0  # rounding may leave a cosine below -1
    return with_gradient(spread, cosines, gradient)
