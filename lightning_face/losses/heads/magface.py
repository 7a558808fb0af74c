"""MagFace."""

from torch import Tensor

from lightning_face.losses.heads.base import CosineHead, Samples, State, check
from lightning_face.losses.heads.margins import check_angle, with_margin


class MagFace(CosineHead):
    """ArcFace whose margin grows with the feature's norm a, and a term that rewards large norms.

    m(a) rises linearly from `margin_low_rad` at `norm_low` to `margin_high_rad` at `norm_high`, between which a is
    held; each sample's loss has norm_weight (a / norm_high^2 + 1 / a) added. The gradient also flows through a.

    Args:
        scale: s.
        margin_low_rad: margin of the smallest norm, an angle in [0, pi/2].
        margin_high_rad: margin of the largest norm.
        norm_low: the smallest norm; below it, as above the largest, there is no gradient through the norm.
        norm_high: the largest norm.
        norm_weight: the paper's lambda_g.
        easy_margin: the margin is added only where theta is below pi/2. The paper's equation has no such rule, the
            authors' `MagLinear` has it by default.

    Source:
        Meng et al., "MagFace: A Universal Representation for Face Recognition and Quality Assessment", CVPR 2021;
        github.com/IrvingMeng/MagFace, models/magface.py at 719001a, run/run.sh.
    """

    def __init__(
        self,
        scale: float = 64.0,
        margin_low_rad: float = 0.45,
        margin_high_rad: float = 0.8,
        norm_low: float = 10.0,
        norm_high: float = 110.0,
        norm_weight: float = 35.0,
        easy_margin: bool = False,
    ) -> None:
        super().__init__(scale)
        check_angle("margin_low_rad", margin_low_rad)
        check_angle("margin_high_rad", margin_high_rad)
        is_rising = margin_low_rad <= margin_high_rad
        check("margin_high_rad", margin_high_rad, is_rising, f"at least margin_low_rad, {margin_low_rad}")
        check("norm_low", norm_low, norm_low > 0.0, "above 0")
        check("norm_high", norm_high, norm_low < norm_high < float("inf"), f"above norm_low, {norm_low}")
        check("norm_weight", norm_weight, 0.0 <= norm_weight < float("inf"), "at least 0")
        self.margin_low_rad = margin_low_rad
        self.margin_high_rad = margin_high_rad
        self.norm_low = norm_low
        self.norm_high = norm_high
        self.norm_weight = norm_weight
        self.easy_margin = easy_margin

    def margined(self, cosines_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `CosineHead.margined`."""
        slope = (self.margin_high_rad - self.margin_low_rad) / (self.norm_high - self.norm_low)
        margins_B = self.margin_low_rad + slope * (self._norms(samples) - self.norm_low)
        return with_margin(cosines_B, margins_B, easy=self.easy_margin)

    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `Head.losses`."""
        norms_B = self._norms(samples)
        return super().losses(targets_B, negatives_B, samples, state) + self.norm_weight * (
            norms_B / self.norm_high**2 + 1.0 / norms_B
        )

    def _norms(self, samples: Samples) -> Tensor:
        return samples.norms_B.clamp(self.norm_low, self.norm_high)
