"""Which of its classes an objective takes samples for, from tables in any placement.

Shapes: N samples, R rows of this rank's share, W ranks, D embedding dimension.
"""

import torch
from torch import Tensor

from lightning_face.directions import unit_vectors
from lightning_face.distributed.collectives import all_gather_rows
from lightning_face.evaluation.identification import best_rows
from lightning_face.objectives.objective import Objective
from lightning_face.tables.block import own_classes
from lightning_face.tables.centers import NEVER


@torch.no_grad()
def identified(objective: Objective, features_ND: Tensor) -> dict[str, Tensor]:
    """The class of each sample by each table: `classifier`, the largest value; `center`, the nearest that ever moved.

    Each rank compares with its share of the rows. Margins are for training and play no part, nor does a bias that all
    classes share.

    Args:
        objective: with a classifier, centers, or both.
        features_ND: on any device; every rank calls with the same.

    Returns:
        (N,) int64 on the host, the same on every rank.
    """
    found: dict[str, Tensor] = {}
    if objective.classifier is not None and objective.softmax is not None:
        table, own = objective.classifier, own_classes(objective.num_classes)
        rows = table.rows.detach()[own.start - table.held.start : own.stop - table.held.start].flatten(0, -2)
        rows = unit_vectors(rows) if objective.softmax.unit_rows else rows
        found["classifier"] = _best(features_ND, rows, torch.zeros_like(rows[:, 0]), own.start, table.rows_per_class)
    if objective.centers is not None and objective.center is not None:
        first_class, rows, moved_at = objective.centers.share()
        features_ND = unit_vectors(features_ND) if objective.center.normalise else features_ND
        offsets = torch.where(moved_at != NEVER, -0.5 * rows.double().square().sum(1), -torch.inf)
        found["center"] = _best(features_ND, rows, offsets, first_class, rows_per_class=1)
    return found


def _best(features_ND: Tensor, rows_RD: Tensor, offsets_R: Tensor, first_class: int, rows_per_class: int) -> Tensor:
    scores_N, places_N = best_rows(features_ND.to(rows_RD.device), rows_RD, offsets_R)
    classes_N = first_class + places_N // rows_per_class
    scores_WN, classes_WN = all_gather_rows(scores_N.unsqueeze(0)), all_gather_rows(classes_N.unsqueeze(0))
    # Of equal ones the first rank's, which has the first class.
    return classes_WN.gather(0, scores_WN.argmax(0, keepdim=True)).squeeze(0).cpu()
