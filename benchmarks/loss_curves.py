"""What each head makes of an angle, and each center of its samples, computed by the package's own code.

Draws `docs/losses.svg`.
"""

import argparse
import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.pair_curves import contrastive, marginal, range_toy, triplet
from benchmarks.strokes import BLUE, GREEN, PLAIN, RED, arrow
from lightning_face.losses import (
    ClassRows,
    MinimumMargin,
    Scoring,
    class_sums,
    moved_centers,
)
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
)

# Shapes: A angles.

_ANGLES_A = torch.linspace(0.0, 180.0, 61, dtype=torch.float64)
_COSINES_A = _ANGLES_A.deg2rad().cos()
_FAR = 1e4  # a negative's logit beside which the loss is that logit minus the own class's
_NUM_CLASSES = 10_000


@dataclass(frozen=True)
class AllAlike:
    """`Samples` of one process that all have this norm, this noise and this rarity."""

    norm: float = 1.0
    noise: float = 0.0
    rarity: float = 1.0

    @property
    def norms_B(self) -> Tensor:
        """See `Samples`."""
        return torch.full_like(_COSINES_A, self.norm)

    @property
    def noise_B(self) -> Tensor:
        """See `Samples`."""
        return torch.full_like(_COSINES_A, self.noise)

    @property
    def rarity_B(self) -> Tensor:
        """See `Samples`."""
        return torch.full_like(_COSINES_A, self.rarity)

    @property
    def targets_G(self) -> Tensor:
        """See `Samples`."""
        return _COSINES_A

    def everyone(self, values_B: Tensor) -> Tensor:
        """See `Samples`."""
        return values_B

    def own(self, values_G: Tensor) -> Tensor:
        """See `Samples`."""
        return values_G


def state_of(head: Head, **values: float) -> dict[str, Tensor]:
    """The head's first state with some values in place of its own."""
    return head.initial_state(_NUM_CLASSES) | {name: torch.tensor(value) for name, value in values.items()}


def own_logits(head: Head, samples: AllAlike, **state: float) -> Tensor:
    """Logit (A,) of the own class over the angle, read off the loss; over the scale, or the feature's norm."""
    far_A = torch.full_like(_COSINES_A, _FAR)
    factor = float(getattr(head, "scale", None) or samples.norm)
    values_A = _COSINES_A if head.unit_features else samples.norm * _COSINES_A
    return (_FAR - head.losses(values_A, far_A, samples, state_of(head, **state))) / factor


def losses_of_pair(head: Head) -> tuple[Tensor, Tensor]:
    """Loss (A,) of a sample at an angle to its own class, and what one other class at that angle adds."""
    state, samples = state_of(head), AllAlike()
    none_A = torch.zeros_like(_COSINES_A)
    logits_A1 = head.scoring(state).logits(_COSINES_A.unsqueeze(1), _COSINES_A)
    own_A = head.losses(_COSINES_A, none_A, samples, state)
    return own_A, head.losses(_COSINES_A, head.reduction.of(logits_A1), samples, state) - own_A


def draw(axes: Axes, curves: Mapping[str, Tensor]) -> None:
    """The plain cosine, and curves over the angle."""
    axes.plot(_ANGLES_A, _COSINES_A, color=PLAIN, linestyle="--", linewidth=1.2, label="cos θ")
    for colour, (label, logits_A) in zip((BLUE, RED, GREEN), curves.items(), strict=False):
        axes.plot(_ANGLES_A, logits_A, color=colour, label=label)
    axes.set(ylabel="logit / s", ylim=(-2.6, 1.9))


def cosface(axes: Axes) -> None:
    """Its margin."""
    draw(axes, {"m = 0.35": own_logits(CosFace(), AllAlike())})


def arcface(axes: Axes) -> None:
    """Its margin, and the easy one."""
    easy_A = own_logits(ArcFace(easy_margin=True), AllAlike())
    draw(axes, {"m = 0.5": own_logits(ArcFace(), AllAlike()), "easy margin": easy_A})


def adaface(axes: Axes) -> None:
    """Norms two deviations apart."""
    norms = {"low norm": 14.0, "mean norm": 20.0, "high norm": 26.0}
    draw(axes, {label: own_logits(AdaFace(), AllAlike(norm), mean=20.0, std=2.0) for label, norm in norms.items()})


def magface(axes: Axes) -> None:
    """Norms between its borders; what it adds to the loss for a norm is left out."""
    head = MagFace(norm_weight=0.0)
    draw(axes, {f"norm {norm}": own_logits(head, AllAlike(norm)) for norm in (10, 60, 110)})


def curricularface(axes: Axes) -> None:
    """Its margin, and a negative beside a sample at 60 degrees to its class, early and late."""
    head, own_A = CurricularFace(), torch.full_like(_COSINES_A, 0.5)
    curves = {"own class": own_logits(head, AllAlike())}
    for label, t in {"negative, t = 0": 0.0, "negative, t = 0.8": 0.8}.items():
        logits_A1 = head.scoring(state_of(head, t=t)).logits(_COSINES_A.unsqueeze(1), own_A)
        curves[label] = logits_A1.squeeze(1) / head.scale
    draw(axes, curves)
    axes.axvline(60, color=PLAIN, linewidth=0.8)
    axes.text(63, 1.55, "its own class is at 60°", fontsize=7)


def elastic(head: ElasticArcFace | ElasticCosFace, axes: Axes) -> None:
    """The mean margin, and two deviations to either side."""
    draw(axes, {"mean margin": own_logits(head, AllAlike())})
    low_A, high_A = (own_logits(head, AllAlike(noise=noise)) for noise in (2.0, -2.0))
    axes.fill_between(_ANGLES_A, low_A, high_A, color=BLUE, alpha=0.25, linewidth=0, label="± 2 deviations")


def sphereface(axes: Axes) -> None:
    """From the first step to its last lambda, and psi alone."""
    head, alone = SphereFace(), SphereFace(lambda_start=0.0, lambda_floor=0.0)
    curves = {f"λ = 5, at last, m = {head.margin:g}": own_logits(head, AllAlike(), step=10**6)}
    draw(axes, curves | {"λ = 0: ψ(θ)": own_logits(alone, AllAlike())})
    axes.set(ylabel="logit / ‖x‖", ylim=(-10.5, 1.9))


def binary(head: Head, axes: Axes) -> None:
    """Losses of the two sides of its threshold, on a logarithmic axis."""
    for colour, label, losses_A in zip((BLUE, RED), ("own class", "another class"), losses_of_pair(head), strict=True):
        axes.plot(_ANGLES_A, losses_A, color=colour, label=label)
    axes.set(yscale="log", ylim=(1e-6, 1e3), ylabel="loss")


def rarity(axes: Axes) -> None:
    """A power of 1/4, LDAM's."""
    head = CosFace(margin=0.5, rarity_power=0.25)
    times = {"the rarest class": 1, "10 times its images": 10, "100 times": 100}
    draw(axes, {label: own_logits(head, AllAlike(rarity=1.0 / n)) for label, n in times.items()})


def centers(axes: Axes) -> None:
    """Two classes: samples are pulled, centers follow by Wen's rule, and are pushed apart."""
    features = torch.tensor([[-2.2, 0.9], [-1.5, 1.9], [-0.7, 1.0], [0.9, -0.5], [1.9, 0.6], [2.0, -1.0]])
    labels, before = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([[-0.3, -0.2], [0.6, 0.5]])
    after = moved_centers(before, class_sums(features, labels, 2), torch.tensor([3, 3]), rate=0.5)
    margin = MinimumMargin(ClassRows(torch.tensor([0, 1]), after), margin=9.0)
    margin.add_within(range(2), gradient=True)
    for j, colour in enumerate((BLUE, RED)):
        of_class = labels == j
        axes.plot(*features[of_class].T, "o", markersize=4, color=colour)
        for x in features[of_class]:
            arrow(axes, x, x + 0.3 * (before[j] - x), colour)
        axes.plot(*before[j], "x", color=colour)
        arrow(axes, before[j], after[j], colour, width=1.8)
        arrow(axes, after[j], after[j] - 0.08 * margin.gradient_UD[j], GREEN, width=1.8)
    axes.plot([], [], "o", color=PLAIN, markersize=4, label="samples, pulled to × (center loss)")
    axes.plot([], [], color=PLAIN, linewidth=1.8, label="centers × follow (Wen's rule)")
    axes.plot([], [], color=GREEN, linewidth=1.8, label="and are pushed apart (MML)")
    axes.set(xlim=(-2.6, 2.6), ylim=(-2.9, 2.3), xticks=[], yticks=[], xlabel="")


def sub_centers(axes: Axes) -> None:
    """A class with rows at 0, 80 and 140 degrees: a sample has the value of the nearest."""
    rows_A = [torch.cos((_ANGLES_A - degrees).deg2rad()) for degrees in (0.0, 80.0, 140.0)]
    rows_13D = torch.tensor([[[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in (0.0, 80.0, 140.0)]])
    samples_AD = torch.stack([_ANGLES_A.deg2rad().cos(), _ANGLES_A.deg2rad().sin()], dim=1).float()
    for row_A in rows_A:
        axes.plot(_ANGLES_A, row_A, color=PLAIN, linestyle="--", linewidth=1.2)
    values_A = Scoring(unit_features=True, unit_rows=True).values(samples_AD, rows_13D).squeeze(1)
    axes.plot(_ANGLES_A, values_A, color=BLUE, label="value of the class")
    axes.plot([], [], color=PLAIN, linestyle="--", linewidth=1.2, label="its rows at 0°, 80°, 140°")
    axes.set(xlabel="angle θ to the class's first row", ylabel="cos θ", ylim=(-1.1, 1.9))


PANELS: dict[type[Head], Callable[[Axes], None]] = {
    CosFace: cosface,
    ArcFace: arcface,
    AdaFace: adaface,
    MagFace: magface,
    CurricularFace: curricularface,
    ElasticArcFace: partial(elastic, ElasticArcFace()),
    ElasticCosFace: partial(elastic, ElasticCosFace()),
    SphereFace: sphereface,
    UniFace: partial(binary, UniFace()),
    SphereFace2: partial(binary, SphereFace2()),
}
"""How each head is drawn; a head without a panel fails a test."""

_OTHERS = {
    "CosFace by frequency (LDAM)": rarity,
    "Sub-centers, K = 3": sub_centers,
    "Center loss, MML": centers,
    "Contrastive": contrastive,
    "Marginal": marginal,
    "Triplet": triplet,
    "Range": range_toy,
}
"""How the other losses are drawn, by their titles."""


_LEGENDS = {
    **dict.fromkeys(("UniFace", "SphereFace2"), "lower right"),
    **dict.fromkeys(("Contrastive", "Marginal"), "upper center"),
    "Triplet": "upper right",
}
"""Where a panel's curves leave room, if not below on the left."""


def figure() -> Figure:
    """A panel for each head, and for each of the other losses."""
    panels = {head.__name__: panel for head, panel in PANELS.items()} | _OTHERS
    columns = 3
    rows = math.ceil(len(panels) / columns)
    drawn = Figure(figsize=(10.0, 2.5 * rows), layout="constrained", facecolor="white")
    grid = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for axes, (title, panel) in zip(grid, panels.items(), strict=False):
        axes.set_title(title, fontsize=11)
        axes.set(xlabel="angle θ to the class's row", xlim=(0, 180), xticks=range(0, 181, 45))
        axes.xaxis.set_major_formatter("{x:.0f}°")
        axes.tick_params(which="both", labelsize=8, length=0)
        axes.grid(color="#E3E3E3", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(PLAIN)
        panel(axes)
        axes.legend(fontsize=7, loc=_LEGENDS.get(str(axes.get_title()), "lower left"), framealpha=0.9, edgecolor="none")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return drawn


def main(arguments: list[str] | None = None) -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser("python -m benchmarks.loss_curves", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/losses.svg"), help="default: docs/losses.svg")
    options = parser.parse_args(arguments)
    options.out.write_text(svg())
    print(options.out)


def svg() -> str:
    """The figure: text stays text, the same figure gives the same bytes, and a hundredth of a point will do."""
    drawn = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "losses", "font.sans-serif": ["DejaVu Sans"]}):
        figure().savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"(\d\.\d\d)\d+", r"\1", drawn.getvalue())


if __name__ == "__main__":
    main()
