"""Every head against its equation as loops in float64: values, gradients, extremes, and what it refuses."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import pytest
import torch
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss, SphereFaceLoss, SubCenterArcFaceLoss
from torch import Tensor

from lightning_face.errors import ConfigError
from lightning_face.losses.heads import (
    AdaFace,
    ArcFace,
    CosFace,
    CurricularFace,
    ElasticArcFace,
    ElasticCosFace,
    Head,
    MagFace,
    SphereFace,
    SphereFace2,
    UniFace,
    adaface,
    elasticface,
    sphereface,
    sphereface2,
    uniface,
)
from tests.heads import CASES, Batch, initial_state, losses_of
from tests.oracle import assert_close

NUM_CLASSES, DIM = 6, 4
LABELS = torch.tensor([0, 1, 4, 0, 5, 4, 2, 2])
COUNTS = torch.tensor([40, 3, 7, 0, 12, 1])


@dataclass(frozen=True)
class OneRank:
    """`Samples` of one process; `norms_B` are constants where a head must not look at their gradient."""

    norms_B: Tensor
    targets_G: Tensor
    noise_B: Tensor
    rarity_B: Tensor

    def everyone(self, values_B: Tensor) -> Tensor:
        return values_B.detach()

    def own(self, values_G: Tensor) -> Tensor:
        return values_G


def one_rank(norm: float) -> OneRank:
    """A sample, or any number of samples, with one norm and nothing to tell them apart."""
    ones = torch.ones(1, dtype=torch.float64)
    return OneRank(norm * ones, ones, ones, ones)


def example(dtype: torch.dtype = torch.float64) -> tuple[Batch, Tensor]:
    """Features of all angles to their classes, of norms from about 5 to 110, and rows."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(len(LABELS), DIM, generator=generator, dtype=torch.float64)
    rows = torch.randn(NUM_CLASSES, DIM, generator=generator, dtype=torch.float64)
    features[0] = rows[0] + 0.1 * features[0]  # close to its class,
    features[1] = 0.1 * features[1] - rows[1]  # opposite to it: theta + m is above pi,
    features[7] = rows[2] + 0.1 * features[7]  # and close to it with a large norm: AdaFace's theta - m z is below 0
    features *= torch.linspace(3.0, 80.0, len(LABELS), dtype=torch.float64).unsqueeze(1)
    noise = torch.randn(len(LABELS), generator=generator, dtype=torch.float64)
    return Batch(features.to(dtype), LABELS, noise.to(dtype), COUNTS), rows.to(dtype)


def state_of(head: Head, dtype: torch.dtype) -> dict[str, Tensor]:
    state = head.initial_state(NUM_CLASSES)
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


def run(head: Head, batch: Batch, rows: Tensor, state: dict[str, Tensor], *, observe: bool = True) -> Tensor:
    """Loss (G,) of each sample, all logits at once, as a term computes it."""
    norms = batch.features.norm(dim=1)
    with torch.no_grad():
        scoring = head.scoring(state)
        targets = scoring.scores(batch.features, batch.labels, rows)[0]
        counts = batch.class_counts[batch.labels].to(rows.dtype)
        rarity = batch.class_counts[batch.class_counts > 0].min() / counts
    samples = OneRank(norms, targets.detach(), batch.noise, rarity)
    if observe:
        with torch.no_grad():
            head.observe(state, samples)
    scores = head.scoring(state).scores(batch.features, batch.labels, rows)
    return head.losses(scores.targets_B, scores.negatives_B, samples, state)


def check_equation(name: str, module: ModuleType | None = None) -> None:
    """Values, gradients and state of a head, if need be of another module's, equal its equation's."""
    case, (batch, rows) = CASES[name], example()
    head, slow_state = case.head(module=module), initial_state(case, NUM_CLASSES)
    state = state_of(head, torch.float64)
    inputs, slow_inputs = ([batch.features.clone(), rows.clone()] for _ in range(2))
    if "bias" in state:
        inputs.append(state["bias"])
        slow_inputs.append(slow_state["bias"])
    for tensor in [*inputs, *slow_inputs]:
        tensor.requires_grad_()
    factors = torch.linspace(1.0, 2.0, len(LABELS), dtype=torch.float64)
    losses = run(head, batch._replace(features=inputs[0]), inputs[1], state)
    slow = losses_of(case, batch._replace(features=slow_inputs[0]), slow_inputs[1], slow_state, case.scale or 1.0)
    assert_close(losses, slow, 1e-7)  # the initial states are float32
    gradients = torch.autograd.grad(losses @ factors, inputs)
    for gradient, expected in zip(gradients, torch.autograd.grad(slow @ factors, slow_inputs), strict=True):
        assert_close(gradient, expected, 1e-7)
    for key, value in slow_state.items():
        assert_close(state[key], value, 1e-7)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients_equal_the_equation(name: str) -> None:
    check_equation(name)


@pytest.mark.parametrize("name", [name for name in CASES if "straight through" not in name])
def test_gradients_equal_finite_differences(name: str) -> None:
    """Running statistics, and norms that only they and margins see, are constants."""
    head, (batch, rows) = CASES[name].head(8.0), example()
    state = state_of(head, torch.float64)
    run(head, batch, rows, state)
    frozen = {key: value.clone() for key, value in state.items()}

    def loss(features: Tensor, rows: Tensor, *bias: Tensor) -> Tensor:
        now = frozen | ({"bias": bias[0]} if bias else {})
        if not isinstance(head, AdaFace):
            return run(head, batch._replace(features=features), rows, now, observe=False)
        same_norms = features / features.norm(dim=1, keepdim=True) * batch.features.norm(dim=1, keepdim=True)
        return run(head, batch._replace(features=same_norms), rows, now, observe=False)

    inputs = [tensor.clone().requires_grad_() for tensor in (batch.features, rows)]
    inputs += [frozen["bias"].clone().requires_grad_()] if "bias" in frozen else []
    torch.autograd.gradcheck(loss, inputs)


def test_the_example_has_all_that_heads_tell_apart() -> None:
    batch, rows = example()
    head = ArcFace()
    cosines = head.scoring({}).scores(batch.features, batch.labels, rows)[0]
    assert (cosines.acos() + 0.5 > math.pi).any() and (cosines.acos() < 0.4).any()
    assert ((cosines < 0) & (cosines.acos() + 0.5 < math.pi)).any()
    norms = batch.features.norm(dim=1)
    assert (norms < 10).any() and (norms > 100).any()
    hard = CurricularFace().negatives({"t": torch.tensor(0.0)})(torch.tensor([[0.9, -0.9]]), torch.tensor([[0.5]]))
    assert_close(hard, torch.tensor([[64 * 0.81, -64 * 0.9]]))


def extremes(features: Tensor, rows: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Features, labels and rows by name."""
    return {
        "cos 1": (3.0 * rows[LABELS], LABELS, rows),
        "cos -1": (-3.0 * rows[LABELS], LABELS, rows),
        "axes": (torch.eye(4, dtype=rows.dtype), torch.arange(4), torch.eye(4, dtype=rows.dtype)),
        "equal features": (features[:1].expand(8, -1).clone(), LABELS, rows),
        "one class": (features, torch.zeros_like(LABELS), rows[:1]),
        "one sample per class": (features[:6], torch.arange(6), rows),
        "one sample": (features[:1], LABELS[:1], rows),
        "tiny features": (features * 1e-12, LABELS, rows),
        "huge features": (features * 1e6, LABELS, rows),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_extremes_are_finite(name: str, dtype: torch.dtype) -> None:
    """Of bf16 features the objective makes float32; the features themselves are then coarse."""
    head = CASES[name].head()
    batch, rows = example(torch.float32)
    for what, (features, labels, some_rows) in extremes(batch.features, rows).items():
        leaf, row_leaf = features.to(dtype).requires_grad_(), some_rows.clone().requires_grad_()
        state = state_of(head, torch.float32)
        some = Batch(leaf.float(), labels, batch.noise[: len(labels)], torch.ones(len(some_rows), dtype=torch.int64))
        losses = run(head, some, row_leaf, state)
        losses.sum().backward()
        values = [losses, leaf.grad, row_leaf.grad, *state.values()]
        assert all(bool(torch.isfinite(value).all()) for value in values), what


@pytest.mark.parametrize("name", CASES)
def test_coarse_features_give_coarse_losses(name: str) -> None:
    """bf16 features and float32 arithmetic equal the equation of the same features."""
    case, (batch, rows) = CASES[name], example(torch.float32)
    batch = batch._replace(features=batch.features.bfloat16().float())
    head = case.head()
    losses = run(head, batch, rows, state_of(head, torch.float32))
    double = batch._replace(features=batch.features.double(), noise=batch.noise.double())
    slow = losses_of(case, double, rows.double(), initial_state(case, NUM_CLASSES), case.scale or 1.0)
    assert_close(losses, slow)


DEGREES = math.degrees(0.5)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")  # theirs
@pytest.mark.parametrize(
    ("head", "make", "options"),
    [
        (CosFace(), CosFaceLoss, {}),
        (CosFace(scale=30.0, margin=0.2), CosFaceLoss, {"scale": 30, "margin": 0.2}),
        (ArcFace(), ArcFaceLoss, {"margin": DEGREES}),
        (ArcFace(), SubCenterArcFaceLoss, {"margin": DEGREES, "sub_centers": 3}),
        (SphereFace(lambda_start=0.0, lambda_floor=0.0), SphereFaceLoss, {}),
        (SphereFace(margin=3, lambda_start=0.0, lambda_floor=0.0), SphereFaceLoss, {"margin": 3}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_equals_pytorch_metric_learning(head: Head, make: Callable[..., Any], options: dict[str, Any]) -> None:
    """Of the same form there: a mean over samples; margins of ArcFace in degrees; SphereFace without annealing."""
    batch, rows = example(torch.float32)
    if "sub_centers" in options:
        rows = torch.randn(NUM_CLASSES, 3, DIM, generator=torch.Generator().manual_seed(4))
    theirs = make(num_classes=NUM_CLASSES, embedding_size=DIM, **options)
    theirs.W.data = rows.reshape(-1, DIM).T.clone()
    features, their_features = (batch.features.clone().requires_grad_() for _ in range(2))
    row_leaf = rows.clone().requires_grad_()
    loss = run(head, batch._replace(features=features), row_leaf, state_of(head, torch.float32)).mean()
    their_loss = theirs(their_features, LABELS)
    assert_close(loss, their_loss)
    loss.backward()
    their_loss.backward()
    assert_close(features.grad, their_features.grad, 1e-4)  # their arccos of float32 has fewer digits
    assert_close(row_leaf.grad.reshape(-1, DIM), theirs.W.grad.T, 1e-4)


def test_arcface_falls_with_the_angle_everywhere() -> None:
    cosines = torch.linspace(math.pi, 0.0, 2001, dtype=torch.float64).cos()
    for options in ({}, {"margin_rad": 1.5}):
        values = ArcFace(**options).margined(cosines, None, {})
        assert (values.diff() > 0).all(), options


def check_annealing(module: ModuleType = sphereface) -> None:
    head, (batch, rows) = module.SphereFace(), example()
    for step in (0, 1000, 1657, 1658, 10**6):
        state = {"step": torch.tensor(step)}
        slow = losses_of(CASES["sphereface"], batch, rows, {"step": step}, 1.0)
        assert_close(run(head, batch, rows, state), slow, 1e-6)
        head.advance(state)
        assert state["step"] == step + 1
    assert head.initial_state(1.0)["step"] == 0

    cosines = torch.linspace(math.pi, 0.0, 2001, dtype=torch.float64).cos()
    values = head.losses(
        50.0 * cosines, torch.full_like(cosines, -500.0), one_rank(50.0), {"step": torch.tensor(10**6)}
    )
    assert (values.diff() < 0).all(), "the loss falls as the cosine grows"
    for margin in (1.0, 1.7, 2.5, 4.0, 10.0):
        steps = module.SphereFace(margin=margin)._psi(cosines).diff()
        assert (steps > 0).all() and steps.max() < 1.001 * margin * math.pi / 2000, "it falls, and does not jump"
    beyond = torch.tensor([1.0 + 1e-9, -1.0 - 1e-9], dtype=torch.float64)  # as rounding may leave them
    assert_close(head._psi(beyond), torch.tensor([1.0, -7.0]), 1e-6)


def test_sphereface_falls_with_the_angle_and_anneals() -> None:
    check_annealing()


def check_drawn_margins(module: ModuleType = elasticface) -> None:
    """They stay margins, however rare the noise."""
    samples = one_rank(1.0)
    samples = replace(samples, noise_B=torch.tensor([-9.0, 9.0], dtype=torch.float64))
    assert module.ElasticArcFace(margin_std_rad=1.0).margins(samples).tolist() == [0.0, math.pi / 2]
    assert module.ElasticCosFace(margin_std=1.0).margins(samples).tolist() == [0.0, 1.0]


def test_drawn_margins_stay_margins() -> None:
    check_drawn_margins()


def check_statistics_of_few(module: ModuleType = adaface) -> None:
    """Of one norm the standard deviation is 0."""
    head = module.AdaFace()
    state = state_of(head, torch.float64)
    head.observe(state, one_rank(30.0))
    assert state["mean"].item() == pytest.approx(0.99 * 20.0 + 0.01 * 30.0)
    assert state["std"].item() == pytest.approx(0.99 * 100.0)
    state = state_of(head, torch.float64)
    head.observe(state, replace(one_rank(1.0), norms_B=torch.tensor([30.0, 34.0], dtype=torch.float64)))
    assert state["std"].item() == pytest.approx(0.99 * 100.0 + 0.01 * math.sqrt(8.0))
    state = state_of(head, torch.float64)
    head.observe(state, replace(one_rank(1.0), norms_B=torch.tensor([1e-5, 1e5], dtype=torch.float64)))
    assert state["mean"].item() == pytest.approx(0.99 * 20.0 + 0.01 * (0.001 + 100.0) / 2, rel=1e-9)


def test_one_sample_has_statistics() -> None:
    check_statistics_of_few()


def check_initial_bias_of_uniface(module: ModuleType = uniface) -> None:
    for num_classes in (2, 1000, 10**7):
        bias = float(module.UniFace().initial_state(num_classes)["bias"])
        assert bias == pytest.approx(math.log(10 * num_classes))


def check_initial_bias_of_sphereface2(module: ModuleType = sphereface2) -> None:
    """At right angles the own class and all others pull alike."""
    for r, m, t in ((40.0, 0.4, 3.0), (2.0, 0.1, 2.0), (60.0, 0.4, 3.0)):
        for num_classes in (2, 3, 4, 1000, 10**7):
            own, other = r * (2 * 0.5**t - 1 - m), r * (2 * 0.5**t - 1 + m)
            head = module.SphereFace2(scale=r, margin=m, power=t)
            bias = float(head.initial_state(num_classes)["bias"])
            pull, push = 0.7 / (1 + math.exp(own + bias)), 0.3 / (1 + math.exp(-other - bias))
            assert pull == pytest.approx(push * (num_classes - 1), rel=1e-4), num_classes
    assert head.initial_state(1.0) == head.initial_state(2.0), "without any other class"
    assert math.isfinite(module.SphereFace2(scale=4000.0).initial_state(2.0)["bias"])


def test_learned_biases_start_where_the_papers_do() -> None:
    check_initial_bias_of_uniface()
    check_initial_bias_of_sphereface2()


BAD_OPTIONS: list[tuple[type[Head], dict[str, Any], str]] = [
    (
        ArcFace,
        {"margin_rad": 28.6},
        r"margin_rad must be in \[0, pi/2\], in radians, got 28.6; 28.6 degrees are 0.49",
    ),
    (ArcFace, {"margin_rad": -0.1}, r"margin_rad must be in \[0, pi/2\], in radians, got -0.1$"),
    (ArcFace, {"margin_rad": math.nan}, r"margin_rad must be in \[0, pi/2\], in radians, got nan"),
    (ArcFace, {"scale": -64.0}, r"scale must be above 0, got -64.0"),
    (ArcFace, {"scale": math.inf}, r"scale must be above 0, got inf"),
    (ArcFace, {"gradient": "none"}, r"gradient must be exact or straight_through, got 'none'"),
    (ArcFace, {"rarity_power": -1.0}, r"rarity_power must be at least 0 and finite; 0.25 is LDAM's form.*got -1.0"),
    (CosFace, {"margin": 35.0}, r"margin must be in \[0, 1\], a difference of cosines, got 35.0"),
    (CosFace, {"scale": 0.0}, r"scale must be above 0, got 0.0"),
    (CosFace, {"rarity_power": math.nan}, r"rarity_power must be at least 0 .*got nan"),
    (AdaFace, {"margin": 40.0}, r"margin must be in \[0, pi/2\], in radians, got 40.0; 40 degrees are 0.698"),
    (AdaFace, {"concentration": -1.0}, r"concentration must be at least 0 and finite, got -1.0"),
    (AdaFace, {"momentum": 1.5}, r"momentum must be in \(0, 1\], got 1.5"),
    (MagFace, {"margin_low_rad": 0.9}, r"margin_high_rad must be at least margin_low_rad, 0.9, got 0.8"),
    (MagFace, {"norm_low": 0.0}, r"norm_low must be above 0, got 0.0"),
    (MagFace, {"norm_high": 5.0}, r"norm_high must be above norm_low, 10.0, got 5.0"),
    (MagFace, {"norm_weight": -1.0}, r"norm_weight must be at least 0, got -1.0"),
    (CurricularFace, {"momentum": 0.0}, r"momentum must be in \(0, 1\], got 0.0"),
    (CurricularFace, {"momentum": 1.5}, r"momentum must be in \(0, 1\], got 1.5"),
    (CurricularFace, {"margin_rad": 30.0}, r"margin_rad .* in radians, got 30.0; 30 degrees are 0.5236"),
    (ElasticArcFace, {"margin_std_rad": 1.5}, r"margin_std_rad must be in \[0, 1\], got 1.5"),
    (ElasticCosFace, {"margin_std": -0.1}, r"margin_std must be in \[0, 1\], got -0.1"),
    (SphereFace, {"margin": 0.9}, r"margin must be in \[1, 10\], a factor of the angle, got 0.9"),
    (SphereFace, {"margin": 10.1}, r"margin must be in \[1, 10\], a factor of the angle, got 10.1"),
    (SphereFace, {"scale": 0.0}, r"scale must be above 0, or null for the features' norms, got 0.0"),
    (SphereFace, {"scale": math.inf}, r"scale must be above 0, or null for the features' norms, got inf"),
    (SphereFace, {"gradient": "none"}, r"gradient must be exact or straight_through, got 'none'"),
    (SphereFace, {"lambda_floor": -1.0}, r"lambda_floor must be at least 0 and finite, got -1.0"),
    (SphereFace, {"lambda_start": math.inf}, r"lambda_start must be at least 0 and finite, got inf"),
    (SphereFace, {"lambda_decay": -0.1}, r"lambda_decay must be at least 0 and finite, got -0.1"),
    (UniFace, {"margin": 1.5}, r"margin must be in \[0, 1\], a difference of cosines, got 1.5"),
    (UniFace, {"negative_weight": 0.0}, r"negative_weight must be above 0, got 0.0"),
    (SphereFace2, {"scale": 0.0}, r"scale must be above 0, got 0.0"),
    (SphereFace2, {"gradient": ""}, r"gradient must be exact or straight_through, got ''"),
    (SphereFace2, {"power": 0.5}, r"power must be at least 1, got 0.5"),
    (SphereFace2, {"positive_weight": 1.0}, r"positive_weight must be in \(0, 1\), got 1.0"),
]


BORDERS: list[tuple[type[Head], dict[str, Any]]] = [
    (ArcFace, {"margin_rad": math.pi / 2, "scale": 0.5}),
    (ArcFace, {"margin_rad": 0.0, "rarity_power": 0.0}),
    (CosFace, {"margin": 1.0}),
    (AdaFace, {"momentum": 1.0, "concentration": 0.0}),
    (MagFace, {"norm_low": 0.5, "norm_weight": 0.0, "margin_high_rad": 0.45}),
    (CurricularFace, {"momentum": 1.0}),
    (ElasticArcFace, {"margin_std_rad": 0.0}),
    (ElasticCosFace, {"margin_std": 1.0}),
    (SphereFace, {"scale": 0.5, "margin": 10.0}),
    (SphereFace, {"margin": 1.0, "lambda_start": 0.0, "lambda_decay": 0.0, "lambda_floor": 0.0}),
    (UniFace, {"negative_weight": 0.5}),
    (SphereFace2, {"scale": 0.5, "power": 1.0, "positive_weight": 0.99}),
]


def check_options(kind: type[Head], module: ModuleType) -> None:
    """What cannot work is refused in one line, what is on the border is not."""
    for _, options in (case for case in BORDERS if case[0] is kind):
        getattr(module, kind.__name__)(**options)
    for _, options, message in (case for case in BAD_OPTIONS if case[0] is kind):
        said = ""
        try:
            getattr(module, kind.__name__)(**options)
        except ConfigError as error:
            said = str(error)
        assert re.search(rf"^softmax\.head\.{message}", said) and "\n" not in said, options


@pytest.mark.parametrize("kind", sorted({case[0] for case in BAD_OPTIONS}, key=lambda kind: kind.__name__))
def test_bad_options(kind: type[Head]) -> None:
    check_options(kind, sys.modules[kind.__module__])
