"""Every head, and its paper's equation for one sample in float64, with loops and constants of its own."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_face.losses.heads import (
    AdaFace,
    ArcFace,
    CosFace,
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
from tests.oracle import value_of

State = dict[str, float | Tensor]
"""The bias is a tensor."""


class Sample(NamedTuple):
    """One sample: its class, norm, value with its own class, values with its negatives, and what else decides."""

    y: int
    norm: Tensor
    own: Tensor
    others: list[Tensor]
    noise: float
    rarity: float

    @property
    def theta(self) -> Tensor:
        return torch.acos(self.own)


Loss = Callable[[Sample, State, float], Tensor]
"""Of a sample, the state and the scale."""


class Case(NamedTuple):
    """A head, the scale that it has by default, its equation, and what is logged of its state."""

    make: Callable[..., Head]
    scale: float | None
    loss: Loss
    observe: Callable[[Sequence[Sample], State], None] = lambda samples, state: None
    is_sorted: bool = False
    facts: Callable[[State], dict[str, float | Tensor]] = lambda state: {}

    @property
    def kind(self) -> type[Head]:
        return self.make.func if isinstance(self.make, partial) else self.make

    def head(self, scale: float | None = None, module: ModuleType | None = None) -> Head:
        """Made with another scale than the default, or of the class of that name in another module."""
        options = dict(self.make.keywords) if isinstance(self.make, partial) else {}
        if scale is not None and self.scale is not None:
            options["scale"] = scale
        return (self.kind if module is None else getattr(module, self.kind.__name__))(**options)


def cross_entropy(own: Tensor, others: list[Tensor]) -> Tensor:
    return -torch.log(torch.exp(own) / (torch.exp(own) + sum(torch.exp(other) for other in others)))


def softplus(x: Tensor) -> Tensor:
    return torch.log(1.0 + torch.exp(x))


def softmax(x: Sample, state: State, s: float) -> Tensor:
    return cross_entropy(x.own, x.others)


def cosface(x: Sample, state: State, s: float, m: float = 0.35) -> Tensor:
    return cross_entropy(s * (x.own - m), [s * other for other in x.others])


def turned(x: Sample, m: float | Tensor = 0.5) -> Tensor:
    return torch.cos(x.theta + m) if x.theta + m <= math.pi else x.own - m * math.sin(m)


def arcface(x: Sample, state: State, s: float, m: float | Tensor = 0.5) -> Tensor:
    return cross_entropy(s * turned(x, m), [s * other for other in x.others])


def arcface_easy(x: Sample, state: State, s: float) -> Tensor:
    own = torch.cos(x.theta + 0.5) if x.theta < math.pi / 2 else x.own
    return cross_entropy(s * own, [s * other for other in x.others])


def arcface_straight(x: Sample, state: State, s: float) -> Tensor:
    """The value of ArcFace's logit, the gradient of the one without margin."""
    return cross_entropy(s * (x.own + float((turned(x) - x.own).detach())), [s * other for other in x.others])


def adaface(x: Sample, state: State, s: float, h: float = 0.333) -> Tensor:
    norm = min(max(float(x.norm.detach()), 0.001), 100.0)
    z = min(max(h * (norm - state["mean"]) / (state["std"] + 0.001), -1.0), 1.0)
    own = torch.cos(torch.clamp(x.theta - 0.4 * z, 0.0, math.pi)) - (0.4 + 0.4 * z)
    return cross_entropy(s * own, [s * other for other in x.others])


def observe_norms(samples: Sequence[Sample], state: State, share: float = 0.01) -> None:
    norms = [min(max(float(x.norm.detach()), 0.001), 100.0) for x in samples]
    mean = sum(norms) / len(norms)
    variance = sum((norm - mean) ** 2 for norm in norms) / max(len(norms) - 1, 1)
    state["mean"] = share * mean + (1 - share) * state["mean"]
    state["std"] = share * math.sqrt(variance) + (1 - share) * state["std"]


def adaface_facts(state: State) -> dict[str, float | Tensor]:
    return {"adaface_norm_mean": state["mean"], "adaface_norm_std": state["std"]}


def magface(x: Sample, state: State, s: float) -> Tensor:
    a = torch.clamp(x.norm, 10.0, 110.0)
    m = (0.8 - 0.45) / (110.0 - 10.0) * (a - 10.0) + 0.45
    own = torch.cos(x.theta + m) if x.theta + m <= math.pi else x.own - m * torch.sin(m)
    return cross_entropy(s * own, [s * other for other in x.others]) + 35.0 * (a / 110.0**2 + 1.0 / a)


def curricularface(x: Sample, state: State, s: float) -> Tensor:
    others = []
    for other in x.others:
        is_hard = bool(other > torch.cos(x.theta + 0.5))
        others.append(s * other * (state["t"] + other) if is_hard else s * other)
    return cross_entropy(s * turned(x), others)


def observe_cosines(samples: Sequence[Sample], state: State, share: float = 0.01) -> None:
    state["t"] = share * sum(float(x.own.detach()) for x in samples) / len(samples) + (1 - share) * state["t"]


def elastic_arcface(x: Sample, state: State, s: float, std: float = 0.05) -> Tensor:
    return arcface(x, state, s, m=0.5 + std * x.noise)


def elastic_cosface(x: Sample, state: State, s: float, std: float = 0.05) -> Tensor:
    return cosface(x, state, s, m=0.35 + std * x.noise)


def psi_of(theta: Tensor, m: float) -> Tensor:
    """In the interval [k pi/m, (k + 1) pi/m] that theta is in."""
    (k,) = (k for k in range(math.ceil(m)) if k * math.pi / m <= theta < (k + 1) * math.pi / m)
    return (-1) ** k * torch.cos(m * theta) - 2 * k


def lambda_of(state: State) -> float:
    return max(5.0, 1000.0 / (1.0 + 0.12 * (state["step"] + 1)))


def sphereface(x: Sample, state: State, s: float, m: float = 4.0) -> Tensor:
    theta = torch.acos(x.own / x.norm)
    blend = lambda_of(state)
    return cross_entropy(x.norm * (blend * torch.cos(theta) + psi_of(theta, m)) / (1.0 + blend), x.others)


def sphereface_facts(state: State) -> dict[str, float | Tensor]:
    return {"sphereface_lambda": lambda_of(state)}


def sphereface_end(x: Sample, state: State, s: float) -> Tensor:
    """Its own psi alone, as `lambda_start` and `lambda_floor` 0 have it."""
    return cross_entropy(x.norm * psi_of(torch.acos(x.own / x.norm), 4.0), x.others)


def sphereface_straight(x: Sample, state: State, s: float) -> Tensor:
    """opensphere's: unit features, no annealing, psi's value and the cosine's gradient."""
    own = x.own + float((psi_of(x.theta, 1.7) - x.own).detach())
    return cross_entropy(s * own, [s * other for other in x.others])


def uniface(x: Sample, state: State, s: float) -> Tensor:
    b = state["bias"]
    return softplus(b - s * (x.own - 0.4)) + 1.0 * sum((softplus(s * other - b) for other in x.others), 0.0 * b)


def sphereface2(x: Sample, state: State, s: float, is_straight: bool = False) -> Tensor:
    def g(z: Tensor) -> Tensor:
        value = 2.0 * ((z + 1.0) / 2.0) ** 3 - 1.0
        return z + float((value - z).detach()) if is_straight else value

    b = state["bias"]
    negatives = sum((softplus(s * (g(other) + 0.4) + b) for other in x.others), 0.0 * b)
    return 0.7 / s * softplus(-s * (g(x.own) - 0.4) - b) + 0.3 / s * negatives


CASES = {
    "softmax": Case(Softmax, None, softmax),
    "cosface": Case(CosFace, 64.0, cosface),
    "cosface, rare classes": Case(
        partial(CosFace, margin=0.5, rarity_power=0.25),
        64.0,
        lambda x, state, s: cosface(x, state, s, m=0.5 * x.rarity**0.25),
    ),
    "arcface": Case(ArcFace, 64.0, arcface),
    "arcface, easy": Case(partial(ArcFace, easy_margin=True), 64.0, arcface_easy),
    "arcface, straight through": Case(partial(ArcFace, gradient="straight_through"), 64.0, arcface_straight),
    "arcface, rare classes": Case(
        partial(ArcFace, rarity_power=0.5), 64.0, lambda x, state, s: arcface(x, state, s, m=0.5 * x.rarity**0.5)
    ),
    "adaface": Case(AdaFace, 64.0, adaface, observe_norms, facts=adaface_facts),
    "adaface, quick": Case(
        partial(AdaFace, momentum=0.5, concentration=3.0),
        64.0,
        partial(adaface, h=3.0),
        partial(observe_norms, share=0.5),
        facts=adaface_facts,
    ),
    "magface": Case(MagFace, 64.0, magface),
    "curricularface": Case(
        CurricularFace, 64.0, curricularface, observe_cosines, facts=lambda state: {"curricularface_t": state["t"]}
    ),
    "curricularface, quick": Case(
        partial(CurricularFace, momentum=0.5),
        64.0,
        curricularface,
        partial(observe_cosines, share=0.5),
        facts=lambda state: {"curricularface_t": state["t"]},
    ),
    "elastic arcface": Case(ElasticArcFace, 64.0, elastic_arcface),
    "elastic arcface, sorted": Case(
        partial(ElasticArcFace, margin_std_rad=0.0175, sort_margins=True),
        64.0,
        partial(elastic_arcface, std=0.0175),
        is_sorted=True,
    ),
    "elastic cosface": Case(ElasticCosFace, 64.0, elastic_cosface),
    "elastic cosface, sorted": Case(
        partial(ElasticCosFace, margin_std=0.02, sort_margins=True),
        64.0,
        partial(elastic_cosface, std=0.02),
        is_sorted=True,
    ),
    "sphereface": Case(SphereFace, None, sphereface, facts=sphereface_facts),
    "sphereface, m 1.7": Case(
        partial(SphereFace, margin=1.7), None, partial(sphereface, m=1.7), facts=sphereface_facts
    ),
    "sphereface, at the end": Case(
        partial(SphereFace, lambda_start=0.0, lambda_floor=0.0),
        None,
        sphereface_end,
        facts=lambda state: {"sphereface_lambda": 0.0},
    ),
    "sphereface, straight through": Case(
        partial(SphereFace, margin=1.7, lambda_start=0.0, lambda_floor=0.0, scale=30.0, gradient="straight_through"),
        30.0,
        sphereface_straight,
        facts=lambda state: {"sphereface_lambda": 0.0},
    ),
    "uniface": Case(UniFace, 64.0, uniface, facts=lambda state: {"uniface_bias": state["bias"]}),
    "sphereface2": Case(SphereFace2, 40.0, sphereface2, facts=lambda state: {"sphereface2_bias": state["bias"]}),
    "sphereface2, straight through": Case(
        partial(SphereFace2, gradient="straight_through"),
        40.0,
        partial(sphereface2, is_straight=True),
        facts=lambda state: {"sphereface2_bias": state["bias"]},
    ),
}


class Batch(NamedTuple):
    """Samples of all ranks, and how many images each class has."""

    features: Tensor
    labels: Tensor
    noise: Tensor
    class_counts: Tensor


def losses_of(case: Case, batch: Batch, rows: Tensor, state: State, scale: float, seen: Sequence[int] | None = None):
    """Loss (G,) of each sample, one class at a time; the running numbers of the state are brought up to date first."""
    head = case.head()
    rarest = min(int(count) for count in batch.class_counts if count > 0)
    samples = []
    for x, y, noise in zip(batch.features, batch.labels.tolist(), batch.noise.tolist(), strict=True):
        norm = torch.sqrt(torch.dot(x, x))
        direction = x / norm if head.unit_features else x
        classes = range(len(rows)) if seen is None else seen
        others = [value_of(direction, rows[j], unit_rows=head.unit_rows) for j in classes if j != y]
        own = value_of(direction, rows[y], unit_rows=head.unit_rows)
        samples.append(Sample(y, norm, own, others, noise, rarest / int(batch.class_counts[y])))
    if case.is_sorted:
        hardest_first = sorted(range(len(samples)), key=lambda i: float(samples[i].own.detach()))
        for i, noise in zip(hardest_first, sorted(batch.noise.tolist(), reverse=True), strict=True):
            samples[i] = samples[i]._replace(noise=noise)
    case.observe(samples, state)
    return torch.stack([case.loss(x, state, scale) for x in samples])


def initial_state(case: Case, num_seen: float, scale: float | None = None) -> State:
    """As the head has it; the bias as a leaf that learns."""
    state: State = {name: float(value) for name, value in case.head(scale).initial_state(num_seen).items()}
    if "bias" in state:
        state["bias"] = torch.tensor(state["bias"], dtype=torch.float64, requires_grad=True)
    return state
