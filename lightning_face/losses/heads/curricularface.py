"""CurricularFace."""

from functools import partial

import torch
from torch import Tensor

from lightning_face.losses.heads.base import CosineHead, Samples, State, check, scalar
from lightning_face.losses.heads.margins import check_angle, cos_of_sum, with_margin
from lightning_face.losses.scoring import Elementwise


class CurricularFace(CosineHead):
    """ArcFace that turns to hard negatives as training goes on.

    A negative is hard for a sample if cos(theta_j) > cos(theta_y + m); then s cos(theta_j) (t + cos(theta_j)) is its
    logit. t is the running mean of the samples' cosines with their own classes, over the micro-batches of all ranks,
    the present one included; nothing is differentiated through it.

    State: `t`, 0 at first; logged as `curricularface_t`.

    Args:
        scale: s.
        margin_rad: m, an angle in [0, pi/2].
        momentum: share of a micro-batch in t, in (0, 1]; 0.01 in the authors' code.

    Source:
        Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition", CVPR 2020;
        github.com/HuangYG123/CurricularFace, head/metrics.py at d380265.
    """

    def __init__(self, scale: float = 64.0, margin_rad: float = 0.5, momentum: float = 0.01) -> None:
        super().__init__(scale)
        check_angle("margin_rad", margin_rad)
        check("momentum", momentum, 0.0 < momentum <= 1.0, "in (0, 1]")
        self.margin_rad = margin_rad
        self.momentum = momentum

    def initial_state(self, num_seen: float) -> State:
        """See `Head.initial_state`."""
        return {"t": scalar(0.0)}

    def observe(self, state: State, samples: Samples) -> None:
        """See `Head.observe`."""
        state["t"].lerp_(samples.targets_G.mean(), self.momentum)

    def facts(self, state: State) -> dict[str, Tensor]:
        """See `Head.facts`."""
        return {"curricularface_t": state["t"]}

    def negatives(self, state: State) -> Elementwise:
        """See `Head.negatives`."""
        return partial(_modulated, self.scale, self.margin_rad, state["t"].clone())

    def margined(self, cosines_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `CosineHead.margined`."""
        return with_margin(cosines_B, self.margin_rad)


def _modulated(scale: float, margin_rad: float, t: Tensor, values_BR: Tensor, targets_B1: Tensor) -> Tensor:
    is_hard_BR = values_BR > cos_of_sum(targets_B1.detach(), margin_rad)
    return scale * torch.where(is_hard_BR, values_BR * (t + values_BR), values_BR)
