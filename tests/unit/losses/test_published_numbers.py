"""What heads do by default, beside what papers and their authors' code do: a table, and all of it."""

import inspect

import pytest

from lightning_face.losses import heads as heads_module
from lightning_face.losses.heads import (
    AdaFace,
    ArcFace,
    CosFace,
    CosineHead,
    CurricularFace,
    ElasticArcFace,
    ElasticCosFace,
    Head,
    MagFace,
    Softmax,
    SphereFace,
    SphereFace2,
    UniFace,
)

ARCFACE = {"scale": 64.0, "margin_rad": 0.5, "gradient": "exact", "easy_margin": False}
"""arcface_torch computes the gradient straight through."""

PUBLISHED = {
    Softmax: {},
    CosFace: {"scale": 64.0, "margin": 0.35, "rarity_power": 0.0},
    ArcFace: ARCFACE | {"rarity_power": 0.0},
    AdaFace: {"scale": 64.0, "margin": 0.4, "concentration": 0.333, "momentum": 0.01},
    MagFace: {
        "scale": 64.0,
        "margin_low_rad": 0.45,
        "margin_high_rad": 0.8,
        "norm_low": 10.0,
        "norm_high": 110.0,
        "norm_weight": 35.0,
        "easy_margin": False,  # the paper's equation; True in the code's MagLinear
    },
    CurricularFace: {"scale": 64.0, "margin_rad": 0.5, "momentum": 0.01},
    ElasticArcFace: ARCFACE | {"margin_std_rad": 0.05, "sort_margins": False},
    ElasticCosFace: {"scale": 64.0, "margin": 0.35, "margin_std": 0.05, "sort_margins": False},
    SphereFace: {
        "margin": 4.0,
        "lambda_start": 1000.0,
        "lambda_decay": 0.12,
        "lambda_floor": 5.0,
        "scale": None,
        "gradient": "exact",  # the Caffe layer rescales it
    },
    UniFace: {"scale": 64.0, "margin": 0.4, "negative_weight": 1.0},
    SphereFace2: {"scale": 40.0, "margin": 0.4, "power": 3.0, "positive_weight": 0.7, "gradient": "exact"},
}


def test_the_table_has_all_heads() -> None:
    kinds = [getattr(heads_module, name) for name in heads_module.__all__]
    heads = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Head)}
    assert set(PUBLISHED) == heads - {Head, CosineHead}


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_defaults_are_those_published(kind: type[Head]) -> None:
    options = inspect.signature(kind).parameters if kind is not Softmax else {}
    assert {name: option.default for name, option in options.items()} == PUBLISHED[kind]


def test_states_begin_as_published() -> None:
    """AdaFace's statistics and CurricularFace's t; biases are formulas, which have tests of their own."""
    begin = {
        name: float(value) for head in (AdaFace(), CurricularFace()) for name, value in head.initial_state(9).items()
    }
    assert begin == {"mean": 20.0, "std": 100.0, "t": 0.0}
