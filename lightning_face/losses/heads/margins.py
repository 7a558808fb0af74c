"""Margins: angles added to that of the own class, how large they may be, and where they come from."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_face.losses.heads.base import Samples, check

# Shapes: B samples of this rank, G of all ranks.

Margin = float | Tensor
"""One number for all samples, or (B,)."""

Gradient = Literal["exact", "straight_through"]
"""Of what a head makes of a cosine: its own, or the cosine's, as if what is added to that were a constant."""


def cos_of_sum(cosines: Tensor, angle_rad: Margin) -> Tensor:
    """cos(theta + angle) = cos theta cos angle - sin theta sin angle, given cos theta; no arccos is taken.

    At the ends of theta see `sine_of`.
    """
    return cosines * _cos(angle_rad) - sine_of(cosines) * _sin(angle_rad)


def sine_of(cosines: Tensor) -> Tensor:
    """sin(theta), given cos theta.

    Where theta is 0 or pi its derivative is infinite: there, and there alone, it counts as 0. (With respect to a
    feature that infinity meets a factor 0.)
    """
    smallest = 0.5 * torch.finfo(cosines.dtype).eps  # between 0 and the next number that 1 - cos^2 can be
    return ((1.0 - cosines) * (1.0 + cosines)).clamp_min(smallest).sqrt()


def with_margin(cosines_B: Tensor, margin_rad: Margin, *, easy: bool = False) -> Tensor:
    """ArcFace's cos(theta + margin), which falls as theta grows, for all theta in [0, pi].

    Beyond theta + margin = pi the cosine would rise again. There it is cos theta - margin sin margin instead, as in the
    authors' first code; or with the easy margin nothing is added unless theta is below pi/2.

    Args:
        cosines_B: of theta.
        margin_rad: in [0, pi/2].
        easy: which of the two.

    Source:
        github.com/deepinsight/insightface, src/train_softmax.py at 6fe15f1.
    """
    turned_B = cos_of_sum(cosines_B, margin_rad)
    if easy:
        return torch.where(cosines_B > 0.0, turned_B, cosines_B)
    return torch.where(cosines_B > -_cos(margin_rad), turned_B, cosines_B - margin_rad * _sin(margin_rad))


def with_gradient(changed: Tensor, cosines: Tensor, gradient: Gradient) -> Tensor:
    """What a head made of cosines, with the gradient that it shall have."""
    return changed if gradient == "exact" else cosines + (changed - cosines).detach()


def rare_margins(margin: float, rarity_power: float, samples: Samples) -> Margin:
    """A class with n images has the margin times (n_min / n)^rarity_power: the rarest class has all of it."""
    return margin * samples.rarity_B**rarity_power if rarity_power > 0.0 else margin


def drawn_margins(mean: float, std: float, largest: float, samples: Samples, *, sort: bool) -> Tensor:
    """Margins (B,) drawn from a normal distribution, held in [0, largest].

    Args:
        mean: of the distribution.
        std: of the distribution.
        largest: allowed margin.
        samples: whose noise decides.
        sort: hand the numbers drawn for the micro-batch of all ranks out by difficulty: the lower the cosine, the
            larger the margin.
    """
    noise_B = samples.noise_B
    if sort:
        noise_G = samples.everyone(noise_B).sort().values
        easiest_first_G = samples.targets_G.argsort(descending=True, stable=True)
        noise_B = samples.own(torch.empty_like(noise_G).index_copy_(0, easiest_first_G, noise_G))
    return (mean + std * noise_B).clamp(0.0, largest)


def check_angle(option: str, angle_rad: float) -> None:
    """Refuse a margin that is no angle in [0, pi/2], in radians.

    Raises:
        ConfigError: of one line; it knows what degrees look like.
    """
    hint = f"; {angle_rad:g} degrees are {math.radians(angle_rad):.4g}" if 2.0 <= angle_rad <= 90.0 else ""
    if not 0.0 <= angle_rad <= math.pi / 2:
        check(option, f"{angle_rad}{hint}", False, "in [0, pi/2], in radians")


def check_difference(option: str, difference: float) -> None:
    """Refuse a margin that is no difference of cosines in [0, 1]."""
    check(option, difference, 0.0 <= difference <= 1.0, "in [0, 1], a difference of cosines")


def check_gradient(gradient: str) -> None:
    """Refuse a gradient that does not exist."""
    check("gradient", repr(gradient), gradient in get_args(Gradient), " or ".join(get_args(Gradient)))


def check_power(rarity_power: float) -> None:
    """Refuse a power that would give frequent classes the larger margins."""
    rule = "at least 0 and finite; 0.25 is LDAM's form, 0 gives all classes the same margin"
    check("rarity_power", rarity_power, 0.0 <= rarity_power < math.inf, rule)


def _cos(angle_rad: Margin) -> Margin:
    return angle_rad.cos() if isinstance(angle_rad, Tensor) else math.cos(angle_rad)


def _sin(angle_rad: Margin) -> Margin:
    return angle_rad.sin() if isinstance(angle_rad, Tensor) else math.sin(angle_rad)
