"""ElasticFace: CosFace and ArcFace with margins drawn anew for each sample and epoch."""

import math

from torch import Tensor

from lightning_face.losses.heads.arcface import ArcFace
from lightning_face.losses.heads.base import Samples, check
from lightning_face.losses.heads.cosface import CosFace
from lightning_face.losses.heads.margins import Gradient, drawn_margins


class ElasticArcFace(ArcFace):
    """ArcFace with margins from a normal distribution, by a hash of (seed, epoch, sample); held in [0, pi/2].

    Args:
        scale: s.
        margin_rad: mean of the margins, an angle in [0, pi/2].
        margin_std_rad: standard deviation of the margins; 0.05 in the authors' config, 0.0175 where sorted.
        sort_margins: ElasticFace+: of the margins drawn for a micro-batch of all ranks, the lower a sample's cosine
            with its class, the larger its margin. (The authors' code gathers by the order of cosines where it should
            scatter, so that its margins are not sorted; here they are.)
        gradient: see ArcFace.
        easy_margin: see ArcFace.

    Source:
        Boutros et al., "ElasticFace: Elastic Margin Loss for Deep Face Recognition", CVPR Workshops 2022;
        github.com/fdbtrs/ElasticFace, utils/losses.py and config/config.py at ea2c5af.
    """

    def __init__(
        self,
        scale: float = 64.0,
        margin_rad: float = 0.5,
        margin_std_rad: float = 0.05,
        sort_margins: bool = False,
        gradient: Gradient = "exact",
        easy_margin: bool = False,
    ) -> None:
        super().__init__(scale, margin_rad, gradient, easy_margin)
        check_std("margin_std_rad", margin_std_rad)
        self.margin_std_rad = margin_std_rad
        self.sort_margins = sort_margins

    def margins(self, samples: Samples) -> Tensor:
        """See `ArcFace.margins`."""
        return drawn_margins(self.margin_rad, self.margin_std_rad, math.pi / 2, samples, sort=self.sort_margins)


class ElasticCosFace(CosFace):
    """CosFace with margins from a normal distribution, by a hash of (seed, epoch, sample); held in [0, 1].

    Args:
        scale: s.
        margin: mean of the margins, a difference of cosines in [0, 1].
        margin_std: standard deviation of the margins; 0.05 in the authors' config, 0.02 where sorted.
        sort_margins: see `ElasticArcFace`.

    Source:
        See `ElasticArcFace`.
    """

    def __init__(
        self, scale: float = 64.0, margin: float = 0.35, margin_std: float = 0.05, sort_margins: bool = False
    ) -> None:
        super().__init__(scale, margin)
        check_std("margin_std", margin_std)
        self.margin_std = margin_std
        self.sort_margins = sort_margins

    def margins(self, samples: Samples) -> Tensor:
        """See `CosFace.margins`."""
        return drawn_margins(self.margin, self.margin_std, 1.0, samples, sort=self.sort_margins)


def check_std(option: str, std: float) -> None:
    """Refuse what is no standard deviation of margins."""
    check(option, std, 0.0 <= std <= 1.0, "in [0, 1]")
