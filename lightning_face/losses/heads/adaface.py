"""AdaFace."""

import torch
from torch import Tensor

from lightning_face.losses.heads.base import CosineHead, Samples, State, check, scalar
from lightning_face.losses.heads.margins import check_angle, cos_of_sum

_NORMS = (0.001, 100.0)
"""Norms are held between these, as in the authors' code."""

_EPS = 1e-3
"""Added to the norms' standard deviation, as in the authors' code."""


class AdaFace(CosineHead):
    """Margins by image quality: s (cos(theta - m z) - m - m z) for the own class, where z says how large the norm is.

    z = h (norm - mean) / (std + 0.001), held in [-1, 1]; the norm is a constant to the gradient. Mean and standard
    deviation of the norms run over the micro-batches of all ranks, the present one included. theta - m z is held in
    [0, pi], beyond which it has no gradient; the authors' code keeps 0.001 away from both, and all cosines 0.001 away
    from -1 and 1, which is not done here. Norms are held in [0.001, 100], and deviations divide by n - 1, as there.

    State: `mean` and `std` of the norms, 20 and 100 at first; logged as `adaface_norm_mean` and `adaface_norm_std`.

    Args:
        scale: s.
        margin: m, in radians where it is an angle; 0.4 in the authors' scripts.
        concentration: h; 0.333 spreads two thirds of normally distributed norms over a third of the margins.
        momentum: share of a micro-batch in the running statistics, in (0, 1]; 0.01 in the authors' code. That the paper
            says 0.99, of what is kept, is not verified.

    Source:
        Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022; github.com/mk-minchul/AdaFace,
        head.py at 9cb9816, config.py and scripts.
    """

    def __init__(
        self, scale: float = 64.0, margin: float = 0.4, concentration: float = 0.333, momentum: float = 0.01
    ) -> None:
        super().__init__(scale)
        check_angle("margin", margin)
        check("concentration", concentration, 0.0 <= concentration < float("inf"), "at least 0 and finite")
        check("momentum", momentum, 0.0 < momentum <= 1.0, "in (0, 1]")
        self.margin = margin
        self.concentration = concentration
        self.momentum = momentum

    def initial_state(self, num_seen: float) -> State:
        """See `Head.initial_state`."""
        return {"mean": scalar(20.0), "std": scalar(100.0)}

    def observe(self, state: State, samples: Samples) -> None:
        """See `Head.observe`."""
        norms_G = samples.everyone(samples.norms_B).clamp(*_NORMS)
        state["mean"].lerp_(norms_G.mean(), self.momentum)
        state["std"].lerp_(norms_G.std(correction=min(1, len(norms_G) - 1)), self.momentum)  # of one sample it is 0

    def facts(self, state: State) -> dict[str, Tensor]:
        """See `Head.facts`."""
        return {"adaface_norm_mean": state["mean"], "adaface_norm_std": state["std"]}

    def margined(self, cosines_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `CosineHead.margined`."""
        norms_B = samples.norms_B.detach().clamp(*_NORMS)
        quality_B = (self.concentration * (norms_B - state["mean"]) / (state["std"] + _EPS)).clamp(-1.0, 1.0)
        angles_B = -self.margin * quality_B
        turned_B = cos_of_sum(cosines_B, angles_B)
        # theta + angle below 0, or above pi.
        turned_B = torch.where((angles_B < 0.0) & (cosines_B > angles_B.cos()), torch.ones_like(turned_B), turned_B)
        turned_B = torch.where((angles_B > 0.0) & (cosines_B < -angles_B.cos()), -torch.ones_like(turned_B), turned_B)
        return turned_B - (self.margin + self.margin * quality_B)
