"""What is pointed out before a run begins, though it is no error."""

import warnings

import pytest

from lightning_face.checks import warn_of_late_mml
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig

CENTER = CenterConfig(weight=0.003)


def test_mml_that_never_takes_part() -> None:
    objective = ObjectiveConfig(center=CENTER, mml=MinimumMarginConfig(margin=4, weight=1e-3, from_step=1200))
    with pytest.warns(UserWarning, match="from_step is 1,200, but the run has 1,200 steps: MML never takes part"):
        warn_of_late_mml(objective, 1200)


@pytest.mark.parametrize("from_step", [None, 0, 1199])
def test_mml_that_takes_part(from_step: int | None) -> None:
    mml = None if from_step is None else MinimumMarginConfig(margin=4, weight=1e-3, from_step=from_step)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        warn_of_late_mml(ObjectiveConfig(center=CENTER, mml=mml), 1200)
    assert not given
