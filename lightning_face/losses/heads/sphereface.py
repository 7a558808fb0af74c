"""SphereFace."""

import math

import torch
from torch import Tensor

from lightning_face.losses.heads.base import Head, Samples, State, check
from lightning_face.losses.softmax import softmax_loss


class SphereFace(Head):
    """A-Softmax with annealing: softmax over ||x|| cos(theta), with ||x|| (L cos(theta) + psi(theta)) / (1 + L).

    The latter is for the own class: psi(theta) = (-1)^k cos(m theta) - 2k for theta in [k pi/m, (k+1) pi/m], and L, the
    paper's lambda, max(lambda_floor, lambda_start / (1 + lambda_decay n)) after n optimizer steps. Rows are normalised,
    features are not.

    The gradient is that of this equation; the authors' Caffe layer rescales it, so that their lambda may not suit here
    exactly. Not verified: whether they count the first step as 0, as here, or as 1.

    State: `step`, the optimizer steps made, int64.

    Args:
        margin: m, a factor of the angle, a whole number; 1 has no margin.
        lambda_start: lambda at the first step.
        lambda_decay: how fast lambda falls, a step.
        lambda_floor: the smallest lambda; 0 ends with psi alone.

    Source:
        Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017;
        github.com/wy1iu/sphereface at f20b130.
    """

    unit_features = False

    def __init__(
        self, margin: int = 4, lambda_start: float = 1000.0, lambda_decay: float = 0.12, lambda_floor: float = 5.0
    ) -> None:
        check("margin", margin, 1 <= margin <= 10, "a whole number in [1, 10], a factor of the angle")
        check("lambda_start", lambda_start, 0.0 <= lambda_start < math.inf, "at least 0 and finite")
        check("lambda_decay", lambda_decay, 0.0 <= lambda_decay < math.inf, "at least 0 and finite")
        check("lambda_floor", lambda_floor, 0.0 <= lambda_floor < math.inf, "at least 0 and finite")
        self.margin = margin
        self.lambda_start = lambda_start
        self.lambda_decay = lambda_decay
        self.lambda_floor = lambda_floor

    def initial_state(self, num_seen: float) -> State:
        """See `Head.initial_state`."""
        return {"step": torch.zeros((), dtype=torch.int64)}

    def advance(self, state: State) -> None:
        """See `Head.advance`."""
        state["step"] += 1

    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `Head.losses`."""
        norms_B = samples.norms_B
        cosines_B = targets_B / norms_B.clamp_min(torch.finfo(norms_B.dtype).tiny)
        blend = (self.lambda_start / (1.0 + self.lambda_decay * state["step"])).clamp_min(self.lambda_floor)
        return softmax_loss((blend * targets_B + norms_B * self._psi(cosines_B)) / (1.0 + blend), negatives_B)

    def _psi(self, cosines_B: Tensor) -> Tensor:
        """The paper's psi; cos(m theta) is a polynomial of cos(theta), Chebyshev's, smooth at 0 and pi too."""
        with torch.no_grad():
            angles_B = cosines_B.clamp(-1.0, 1.0).acos()
            k_B = (angles_B * (self.margin / math.pi)).floor()
        before_B, multiple_B = torch.ones_like(cosines_B), cosines_B
        for _ in range(self.margin - 1):
            before_B, multiple_B = multiple_B, 2.0 * cosines_B * multiple_B - before_B
        return (1.0 - 2.0 * (k_B % 2)) * multiple_B - 2.0 * k_B
