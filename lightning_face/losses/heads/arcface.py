"""ArcFace."""

from torch import Tensor

from lightning_face.losses.heads.base import CosineHead, Samples, State
from lightning_face.losses.heads.margins import (
    Gradient,
    Margin,
    check_angle,
    check_gradient,
    check_power,
    rare_margins,
    with_gradient,
    with_margin,
)


class ArcFace(CosineHead):
    """Softmax over s cos(theta), with s cos(theta + m) for the own class.

    Beyond theta + m = pi, where that would rise again, see `with_margin`.

    Args:
        scale: s.
        margin_rad: m, an angle in [0, pi/2].
        gradient: exact, or straight_through: the loss has the margin, but its gradient is that of s cos(theta), without
            the factor sin(theta + m) / sin(theta). The current arcface_torch computes it so; beyond pi it lets the
            cosine rise, and other code holds theta + m below pi, where it has no gradient: neither is done here.
        easy_margin: the margin is added only where theta is below pi/2.
        rarity_power: a class with n images has the margin m (n_min / n)^rarity_power, n_min those of the rarest: 0.25
            is LDAM's form for long tails, 0 gives all classes m.

    Source:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019;
        github.com/deepinsight/insightface, recognition/arcface_torch at 7fadd42.
    """

    def __init__(
        self,
        scale: float = 64.0,
        margin_rad: float = 0.5,
        gradient: Gradient = "exact",
        easy_margin: bool = False,
        rarity_power: float = 0.0,
    ) -> None:
        super().__init__(scale)
        check_angle("margin_rad", margin_rad)
        check_gradient(gradient)
        check_power(rarity_power)
        self.margin_rad = margin_rad
        self.gradient = gradient
        self.easy_margin = easy_margin
        self.rarity_power = rarity_power

    @property
    def needs_class_counts(self) -> bool:
        """See `Head.needs_class_counts`."""
        return self.rarity_power > 0.0

    def margined(self, cosines_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `CosineHead.margined`."""
        turned_B = with_margin(cosines_B, self.margins(samples), easy=self.easy_margin)
        return with_gradient(turned_B, cosines_B, self.gradient)

    def margins(self, samples: Samples) -> Margin:
        """The margin of all samples, or of each; radians."""
        return rare_margins(self.margin_rad, self.rarity_power, samples)
