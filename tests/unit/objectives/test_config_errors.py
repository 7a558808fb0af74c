"""What cannot work is refused in one line that names the option, the rule and the value."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, get_args, get_type_hints

import pytest

from lightning_face.errors import ConfigError
from lightning_face.losses.heads import CosFace
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.contrastive import ContrastiveConfig
from lightning_face.objectives.marginal import MarginalConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.range_loss import RangeConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.objectives.triplet import TripletConfig
from lightning_face.optim.row_config import RowOptimizerConfig

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (SoftmaxConfig, {"weight": 0.0}, r"softmax.weight must be above 0, got 0.0"),
        (SoftmaxConfig, {"weight": NAN}, r"softmax.weight must be above 0, got nan"),
        (SoftmaxConfig, {"init_std": -0.1}, r"softmax.init_std must not be negative, nor infinite, got -0.1"),
        (SoftmaxConfig, {"reduction": "avg"}, r"softmax.reduction must be mean or sum, got 'avg'"),
        (SoftmaxConfig, {"sample_rate": 0.0}, r"softmax.sample_rate must be in \(0, 1\], got 0.0; 1 sees every class"),
        (SoftmaxConfig, {"sample_rate": 1.1}, r"softmax.sample_rate must be in \(0, 1\], got 1.1"),
        (SoftmaxConfig, {"sample_rate": NAN}, r"softmax.sample_rate must be in \(0, 1\], got nan"),
        (SoftmaxConfig, {"rows_per_class": 0}, r"softmax.rows_per_class must be at least 1, got 0"),
        (
            SoftmaxConfig,
            {"sample_rate": 0.5, "placement": "replicated"},
            r"sample_rate below 1 .* got 0.5 with placement replicated: set softmax.placement to sharded or auto",
        ),
        (SoftmaxConfig, {"filter_above": NAN}, r"softmax.filter_above must be a finite number or null, got nan"),
        (
            SoftmaxConfig,
            {"filter_above": float("inf")},
            r"softmax.filter_above must be a finite number or null, got inf",
        ),
        (CenterConfig, {"weight": -1.0}, r"center.weight must not be negative, nor infinite, got -1.0"),
        (CenterConfig, {"weight": NAN}, r"center.weight must not be negative, nor infinite, got nan"),
        (CenterConfig, {"rate": 1.5}, r"center.rate must be in \[0, 1\], got 1.5"),
        (CenterConfig, {"rate": NAN}, r"center.rate must be in \[0, 1\], got nan"),
        (CenterConfig, {"init_std": NAN}, r"center.init_std must not be negative, nor infinite, got nan"),
        (CenterConfig, {"reduction": "none"}, r"center.reduction must be mean or sum, got 'none'"),
        (MinimumMarginConfig, {"weight": -1e-9}, r"mml.weight must not be negative, nor infinite, got -1e-09"),
        (MinimumMarginConfig, {"weight": NAN}, r"mml.weight must not be negative, nor infinite, got nan"),
        (
            MinimumMarginConfig,
            {"margin": 0.0},
            r"mml.margin must be above 0 \(a squared distance\) and finite, got 0.0",
        ),
        (
            MinimumMarginConfig,
            {"margin": NAN},
            r"mml.margin must be above 0 \(a squared distance\) and finite, got nan",
        ),
        (MinimumMarginConfig, {"reduction": "max"}, r"mml.reduction must be mean or sum, got 'max'"),
        (MinimumMarginConfig, {"mode": "D"}, r"mml.mode must be A, B or C, got 'D'"),
        (MinimumMarginConfig, {"mode": "B"}, r"mml.center_rate belongs to mml.mode B.* center_rate is None"),
        (MinimumMarginConfig, {"center_rate": 0.1}, r"mml.center_rate belongs to mml.mode B.* mode is A"),
        (
            MinimumMarginConfig,
            {"mode": "B", "center_rate": -0.1},
            r"mml.center_rate must be above 0 and finite, got -0.1",
        ),
        (
            MinimumMarginConfig,
            {"mode": "B", "center_rate": 0.0},
            r"mml.center_rate must be above 0 and finite, got 0.0",
        ),
        (MinimumMarginConfig, {"scope": "world"}, r"mml.scope must be one of batch, batch_vs_all, all, got 'world'"),
        (MinimumMarginConfig, {"scope": "all"}, r"mml.scope all needs mml.mode B or C, got A.*`scope: batch_vs_all`"),
        (MinimumMarginConfig, {"every_n_steps": 0}, r"mml.every_n_steps must be at least 1, got 0"),
        (MinimumMarginConfig, {"from_step": -1}, r"mml.from_step must not be negative, got -1"),
        (MinimumMarginConfig, {"every_n_steps": 5}, r"every_n_steps belongs to mml.scope all.* scope is batch.* is 5"),
        (
            MinimumMarginConfig,
            {"mode": "C", "scope": "batch_vs_all", "every_n_steps": 2},
            r"every_n_steps belongs to mml.scope all.* scope is batch_vs_all, every_n_steps is 2; leave it out",
        ),
        (
            ContrastiveConfig,
            {"weight": 0.0},
            r"contrastive.weight must be above 0, got 0.0; `contrastive: null` switches",
        ),
        (ContrastiveConfig, {"weight": NAN}, r"contrastive.weight must be above 0, got nan"),
        (ContrastiveConfig, {"reduction": "max"}, r"contrastive.reduction must be one of mean, mean_nonzero, sum, got"),
        (ContrastiveConfig, {"margin": 0.0}, r"contrastive.margin must be above 0 \(a distance\), got 0.0"),
        (
            ContrastiveConfig,
            {"margin": 2.1},
            r"contrastive.margin must be at most 2, the largest distance of normalised features, got 2.1",
        ),
        (TripletConfig, {"weight": -1.0}, r"triplet.weight must be above 0, got -1.0"),
        (TripletConfig, {"mining": "easy"}, r"triplet.mining must be one of semi_hard, hardest_.*, got 'easy'"),
        (TripletConfig, {"margin": NAN}, r"triplet.margin must be above 0 \(a squared distance\), got nan"),
        (TripletConfig, {"margin": 4.5}, r"triplet.margin must be at most 4, the largest squared distance .* got 4.5"),
        (TripletConfig, {"margin": 2.5, "squared": False}, r"triplet.margin must be at most 2, .* got 2.5"),
        (TripletConfig, {"reduction": "none"}, r"triplet.reduction must be one of mean, mean_nonzero, sum, got 'none'"),
        (MarginalConfig, {"weight": NAN}, r"marginal.weight must be above 0, got nan"),
        (MarginalConfig, {"reduction": ""}, r"marginal.reduction must be one of"),
        (MarginalConfig, {"margin": 1.3}, r"marginal.margin must be in \[0, marginal.threshold\], got 1.3 and 1.2"),
        (MarginalConfig, {"margin": NAN}, r"marginal.margin must be in \[0, marginal.threshold\], got nan"),
        (MarginalConfig, {"threshold": 3.9}, r"threshold \+ marginal.margin must be at most 4, .* got 4.2"),
        (MarginalConfig, {"threshold": 0.0, "margin": 0.0}, r"marginal.threshold \+ marginal.margin must be above 0"),
        (RangeConfig, {"weight": 0.0}, r"range.weight must be above 0, got 0.0; `range: null` switches it off"),
        (RangeConfig, {"reduction": "mean_nonzero"}, r"range.reduction must be mean or sum, got 'mean_nonzero'"),
        (RangeConfig, {"margin": -1.0}, r"range.margin must be above 0 \(a squared distance\), got -1.0"),
        (RangeConfig, {"normalise": True}, r"range.margin must be at most 4, .* of normalised features, got 20000.0"),
        (RangeConfig, {"num_largest": 0}, r"range.num_largest must be at least 1, got 0; the paper uses 2"),
        (
            RangeConfig,
            {"intra_weight": -1.0},
            r"range.intra_weight and range.inter_weight must be finite and not negative, .* -1.0",
        ),
        (RangeConfig, {"intra_weight": INF}, r"range.intra_weight and range.inter_weight must be finite .* inf"),
        (RangeConfig, {"intra_weight": 0.0, "inter_weight": 0.0}, r"one of them above 0, got 0.0 and 0.0"),
        (RangeConfig, {"inter_weight": NAN}, r"one of them above 0, got 0.0001 and nan"),
        (ObjectiveConfig, {"center": None, "mml": MinimumMarginConfig()}, r"mml needs the table of centers"),
        (CenterConfig, {"init": "zeros"}, r"center.init must be normal or first_seen, got 'zeros'"),
        (
            ObjectiveConfig,
            {"center": CenterConfig(normalise=True), "mml": MinimumMarginConfig(margin=4.1)},
            r"mml.margin must be at most 4 with center.normalise, got 4.1",
        ),
        (
            ObjectiveConfig,
            {"softmax": None, "center": CenterConfig(weight=0.0, rate=0.0), "mml": MinimumMarginConfig()},
            r"no term left",
        ),
        (SoftmaxConfig, {"head": CosFace(), "filter_above": 20.0}, r"softmax.filter_above must be in \(-1, 1\) with"),
        (SoftmaxConfig, {"weight": INF}, r"softmax.weight must be above 0, got inf"),
        (CenterConfig, {"weight": INF}, r"center.weight must not be negative, nor infinite, got inf"),
        (CenterConfig, {"init_std": INF}, r"center.init_std must not be negative, nor infinite, got inf"),
        (MinimumMarginConfig, {"weight": INF}, r"mml.weight must not be negative, nor infinite, got inf"),
        (MinimumMarginConfig, {"margin": INF}, r"mml.margin must be above 0 .* and finite, got inf"),
        (
            MinimumMarginConfig,
            {"mode": "B", "center_rate": INF},
            r"mml.center_rate must .* finite, got inf",
        ),
        (ObjectiveConfig, {"softmax": None, "center": None}, r"no term left"),
        (ObjectiveConfig, {"softmax": None, "center": CenterConfig(weight=0.0)}, r"no term left"),
        *[
            (ObjectiveConfig, {"softmax": None, "center": CenterConfig(weight=0.0), "mml": mml}, r"no term left")
            for mml in (
                MinimumMarginConfig(weight=0.0),
                MinimumMarginConfig(mode="B", center_rate=1e-3),  # moves centers, which nothing else feels
                MinimumMarginConfig(mode="C"),
            )
        ],
    ],
)
def test_bad_option(make: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        make(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (SoftmaxConfig, {"sample_rate": 1.0, "placement": "replicated"}),
        (SoftmaxConfig, {"filter_above": 0.0}),
        (SoftmaxConfig, {"sample_rate": 1e-6, "placement": "auto"}),
        (CenterConfig, {"weight": 0.0, "rate": 0.0, "init_std": 0.0}),
        (CenterConfig, {"rate": 1.0, "reduction": "sum"}),
        (MinimumMarginConfig, {"mode": "C", "weight": 0.0}),
        (MinimumMarginConfig, {"mode": "B", "center_rate": 1e-3, "reduction": "mean"}),
        (MinimumMarginConfig, {"scope": "batch_vs_all"}),
        (MinimumMarginConfig, {"mode": "C", "scope": "all", "every_n_steps": 100}),
        (ContrastiveConfig, {"margin": 2.0}),
        (ContrastiveConfig, {"margin": None}),
        (ContrastiveConfig, {"margin": 30.0, "normalise": False}),
        (TripletConfig, {"margin": None, "squared": False, "normalise": False, "mining": "batch_hard"}),
        (TripletConfig, {"margin": 4.0}),
        (MarginalConfig, {"margin": 1.2}),
        (MarginalConfig, {"threshold": 50.0, "normalise": False}),
        (RangeConfig, {"margin": 4.0, "normalise": True, "num_largest": 1}),
        (RangeConfig, {"intra_weight": 0.0}),
        (ObjectiveConfig, {"softmax": None}),
        (ObjectiveConfig, {"softmax": None, "center": None, "range": RangeConfig()}),
        (ObjectiveConfig, {"center": CenterConfig(normalise=True), "mml": MinimumMarginConfig(margin=4.0)}),
        (ObjectiveConfig, {"center": CenterConfig(weight=0.0), "mml": MinimumMarginConfig()}),
        (ObjectiveConfig, {"softmax": None, "center": CenterConfig(weight=0.0), "mml": MinimumMarginConfig()}),
    ],
)
def test_borders_are_allowed(make: Callable[..., Any], options: dict[str, Any]) -> None:
    assert {name: getattr(make(**options), name) for name in options} == options


SGD = asdict(RowOptimizerConfig(kind="sgd", momentum=0.9, weight_decay=5e-4, lr_multiplier=1.0))
DEFAULTS: dict[type, dict[str, Any]] = {
    SoftmaxConfig: {
        "weight": 1.0, "reduction": "mean", "head": None, "placement": "auto", "init_std": 0.01, "sample_rate": 1.0,
        "filter_above": None, "rows_per_class": 1, "optimizer": SGD,
    },
    CenterConfig: {
        "weight": 0.003, "reduction": "mean", "placement": "auto", "rate": 0.5, "normalise": False, "init": "normal",
        "init_std": 0.01,
    },
    MinimumMarginConfig: {
        "weight": 5e-8, "margin": 280.0, "reduction": "sum", "mode": "A", "center_rate": None, "scope": "batch",
        "every_n_steps": 1, "from_step": 0,
    },
    ContrastiveConfig: {"weight": 1.0, "margin": 1.0, "reduction": "mean", "normalise": True},
    TripletConfig: {
        "weight": 1.0, "mining": "semi_hard", "margin": 0.2, "squared": True, "reduction": "mean", "normalise": True,
    },
    MarginalConfig: {"weight": 1.0, "threshold": 1.2, "margin": 0.3, "reduction": "mean", "normalise": True},
    RangeConfig: {
        "weight": 1.0, "intra_weight": 1e-4, "inter_weight": 1e-3, "margin": 2e4, "num_largest": 2, "squared": True,
        "reduction": "sum", "normalise": False,
    },
}  # fmt: skip


def test_defaults_are_the_published_constants() -> None:
    """What docs/losses.md says of each source: whoever changes a default changes every run without the option."""
    assert {type(config): asdict(config) for config in (kind() for kind in DEFAULTS)} == DEFAULTS


def test_every_term_has_its_defaults_pinned() -> None:
    kinds = {get_args(hint)[0] for hint in get_type_hints(ObjectiveConfig).values()}
    assert kinds == DEFAULTS.keys()
