"""CosFace, also known as AM-Softmax."""

from torch import Tensor

from lightning_face.losses.heads.base import CosineHead, Samples, State
from lightning_face.losses.heads.margins import Margin, check_difference, check_power, rare_margins


class CosFace(CosineHead):
    """Softmax over s cos(theta), with s (cos(theta) - m) for the own class.

    Args:
        scale: s; 64 in CosFace, 30 in AM-Softmax.
        margin: m, a difference of cosines in [0, 1]; 0.35 in both, 0.4 in insightface's recipes with Partial FC.
        rarity_power: a class with n images has the margin m (n_min / n)^rarity_power, n_min those of the rarest: 0.25
            is LDAM's form for long tails, 0 gives all classes m.

    Source:
        Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018; Wang et al., "Additive
        Margin Softmax for Face Verification", 2018 (github.com/happynear/AMSoftmax); Cao et al., "Learning Imbalanced
        Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019 (github.com/kaidic/LDAM-DRW: m 0.5, s 30).
    """

    def __init__(self, scale: float = 64.0, margin: float = 0.35, rarity_power: float = 0.0) -> None:
        super().__init__(scale)
        check_difference("margin", margin)
        check_power(rarity_power)
        self.margin = margin
        self.rarity_power = rarity_power

    @property
    def needs_class_counts(self) -> bool:
        """See `Head.needs_class_counts`."""
        return self.rarity_power > 0.0

    def margined(self, cosines_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `CosineHead.margined`."""
        return cosines_B - self.margins(samples)

    def margins(self, samples: Samples) -> Margin:
        """The margin of all samples, or of each."""
        return rare_margins(self.margin, self.rarity_power, samples)
