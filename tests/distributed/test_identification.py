"""Samples are taken for the same classes by tables in any placement, on any number of ranks."""

import pytest
import torch
from torch import Tensor

from lightning_face.losses.heads import ArcFace
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.identification import identified
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.tables.centers import NEVER
from lightning_face.tables.placement import Placement
from tests.ranks import run_ranks

NUM_CLASSES, DIM, ROWS_PER_CLASS = 11, 5, 2
UNSEEN = 4
"""A class whose center never moved."""


def tables() -> tuple[Tensor, Tensor]:
    """Rows of lengths that differ much, and centers."""
    generator = torch.Generator().manual_seed(7)
    rows = torch.randn(NUM_CLASSES, ROWS_PER_CLASS, DIM, generator=generator)
    lengths = 0.2 + torch.rand(NUM_CLASSES, ROWS_PER_CLASS, 1, generator=generator) * 3
    return rows * lengths, torch.randn(NUM_CLASSES, DIM, generator=generator) * 0.5


def features() -> Tensor:
    return torch.randn(40, DIM, generator=torch.Generator().manual_seed(8)) * 3


def of_ranks(placement: Placement, cosine: bool, normalise: bool) -> dict[str, Tensor]:
    """What a rank finds with its part of the tables."""
    config = ObjectiveConfig(
        softmax=SoftmaxConfig(head=ArcFace() if cosine else None, placement=placement, rows_per_class=ROWS_PER_CLASS),
        center=CenterConfig(placement=placement, normalise=normalise),
    )
    objective = Objective(config, num_classes=NUM_CLASSES, dim=DIM, seed=0, device=torch.device("cpu"))
    assert objective.classifier is not None and objective.centers is not None
    rows, centers = tables()
    held = slice(objective.classifier.held.start, objective.classifier.held.stop)
    with torch.no_grad():
        objective.classifier.rows.copy_(rows[held])
        objective.centers.rows_HD.copy_(centers[held])
        objective.centers.moved_at_H.zero_()
        if UNSEEN in objective.classifier.held:
            objective.centers.moved_at_H[UNSEEN - held.start] = NEVER
    return identified(objective, features())


def by_the_book(cosine: bool, normalise: bool) -> dict[str, list[int]]:
    """Loops in float64."""
    rows, centers = tables()
    found: dict[str, list[int]] = {"classifier": [], "center": []}
    for feature in features().double():
        values = []
        for of_class in rows.double():
            products = [float(feature @ row) / (float(row.norm()) if cosine else 1.0) for row in of_class]
            values.append(max(products))
        found["classifier"].append(values.index(max(values)))
        seen = feature / feature.norm() if normalise else feature
        distances = [float((seen - center).norm()) for center in centers.double()]
        distances[UNSEEN] = float("inf")
        found["center"].append(distances.index(min(distances)))
    return found


@pytest.mark.parametrize(("cosine", "normalise"), [(False, False), (True, True)])
@pytest.mark.parametrize(("placement", "num_ranks"), [("replicated", 2), ("sharded", 1), ("sharded", 3)])
def test_equals_loops_on_every_rank(placement: Placement, num_ranks: int, cosine: bool, normalise: bool) -> None:
    expected = by_the_book(cosine, normalise)
    assert len(set(expected["center"])) > 4 and len(set(expected["classifier"])) > 4
    for found in run_ranks(of_ranks, num_ranks, placement, cosine, normalise):
        assert {name: classes.tolist() for name, classes in found.items()} == expected
