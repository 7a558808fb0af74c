"""SphereFace."""

import math
from functools import partial

import torch
from torch import Tensor

from lightning_face.losses.heads.base import Head, Samples, State, check, scaled
from lightning_face.losses.heads.margins import Gradient, check_gradient, sine_of, with_gradient
from lightning_face.losses.scoring import Elementwise
from lightning_face.losses.softmax import softmax_loss


class SphereFace(Head):
    """A-Softmax with annealing: softmax over ||x|| cos(theta), with ||x|| (L cos(theta) + psi(theta)) / (1 + L).

    The latter is for the own class: psi(theta) = (-1)^k cos(m theta) - 2k for theta in [k pi/m, (k+1) pi/m] falls
    everywhere, for any m. L, the paper's lambda, is max(lambda_floor, lambda_start / (1 + lambda_decay n)) in the n-th
    optimizer step, the first being 1, as in the authors' Caffe layer. Rows are normalised, features only with a scale.

    The authors' Caffe layer rescales the gradient, so that their lambda may not suit here exactly. Their later code
    (opensphere, model/head/sphereface.py at 54e73b5) has no annealing (`lambda_start: 0`, `lambda_floor: 0`),
    `scale: 30`, `margin: 1.5` (in some of its configs 32 and 1.7) and `gradient: straight_through`.

    State: `step`, the optimizer steps made, int64; L is logged as `sphereface_lambda`.

    Args:
        margin: m in [1, 10], a factor of the angle; 1 has no margin. A whole number in the paper.
        lambda_start: lambda before the first step.
        lambda_decay: how fast lambda falls, a step.
        lambda_floor: the smallest lambda; 0 ends with psi alone.
        scale: what stands in place of ||x||, with features normalised; None keeps the features' norms.
        gradient: exact, or straight_through: psi(theta) has the gradient of cos(theta).

    Source:
        Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017;
        github.com/wy1iu/sphereface at 7f9acb1, train/code/sphereface_model.prototxt and
        tools/caffe-sphereface/src/caffe/layers/margin_inner_product_layer.cpp; github.com/ydwen/opensphere.
    """

    def __init__(
        self,
        margin: float = 4.0,
        lambda_start: float = 1000.0,
        lambda_decay: float = 0.12,
        lambda_floor: float = 5.0,
        scale: float | None = None,
        gradient: Gradient = "exact",
    ) -> None:
        check("margin", margin, 1.0 <= margin <= 10.0, "in [1, 10], a factor of the angle")
        check("lambda_start", lambda_start, 0.0 <= lambda_start < math.inf, "at least 0 and finite")
        check("lambda_decay", lambda_decay, 0.0 <= lambda_decay < math.inf, "at least 0 and finite")
        check("lambda_floor", lambda_floor, 0.0 <= lambda_floor < math.inf, "at least 0 and finite")
        check("scale", scale, scale is None or 0.0 < scale < math.inf, "above 0, or null for the features' norms")
        check_gradient(gradient)
        self.margin = margin
        self.lambda_start = lambda_start
        self.lambda_decay = lambda_decay
        self.lambda_floor = lambda_floor
        self.scale = scale
        self.gradient = gradient
        self.unit_features = scale is not None

    def initial_state(self, num_seen: float) -> State:
        """See `Head.initial_state`."""
        return {"step": torch.zeros((), dtype=torch.int64)}

    def advance(self, state: State) -> None:
        """See `Head.advance`."""
        state["step"] += 1

    def facts(self, state: State) -> dict[str, Tensor]:
        """See `Head.facts`."""
        return {"sphereface_lambda": self._lambda(state)}

    def negatives(self, state: State) -> Elementwise | None:
        """See `Head.negatives`."""
        return None if self.scale is None else partial(scaled, self.scale)

    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `Head.losses`."""
        lengths_B, cosines_B = self._lengths_and_cosines(targets_B, samples)
        blend = self._lambda(state)
        own_B = (blend * cosines_B + with_gradient(self._psi(cosines_B), cosines_B, self.gradient)) / (1.0 + blend)
        return softmax_loss(lengths_B * own_B, negatives_B)

    def _lengths_and_cosines(self, targets_B: Tensor, samples: Samples) -> tuple[Tensor | float, Tensor]:
        if self.scale is not None:
            return self.scale, targets_B
        norms_B = samples.norms_B
        return norms_B, targets_B / norms_B.clamp_min(torch.finfo(norms_B.dtype).tiny)

    def _lambda(self, state: State) -> Tensor:
        step = state["step"] + 1
        return (self.lambda_start / (1.0 + self.lambda_decay * step)).clamp_min(self.lambda_floor)

    def _psi(self, cosines_B: Tensor) -> Tensor:
        multiples_B = self.margin * torch.atan2(sine_of(cosines_B), cosines_B)
        k_B = (multiples_B.detach() / math.pi).floor()
        return (1.0 - 2.0 * (k_B % 2)) * multiples_B.cos() - 2.0 * k_B
