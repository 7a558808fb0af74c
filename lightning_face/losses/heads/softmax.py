"""Plain softmax over inner products."""

from torch import Tensor

from lightning_face.losses.heads.base import Head, Samples, State
from lightning_face.losses.softmax import softmax_loss


class Softmax(Head):
    """Softmax over inner products of raw features and rows, without bias (Wen et al., ECCV 2016, equation 1)."""

    unit_features = False
    unit_rows = False

    def losses(self, targets_B: Tensor, negatives_B: Tensor, samples: Samples, state: State) -> Tensor:
        """See `Head.losses`."""
        return softmax_loss(targets_B, negatives_B)
