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
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lightning_face.losses import ClassRows, MinimumMargin, class_sums, moved_centers
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

_BLUE, _RED, _GREEN, _PLAIN = "#0072B2", "#D55E00", "#009E73", "#999999"
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
    axes.plot(_ANGLES_A, _COSINES_A, color=_PLAIN, linestyle="--", linewidth=1.2, label="cos θ")
    for colour, (label, logits_A) in zip((_BLUE, _RED, _GREEN), curves.items(), strict=False):
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
    axes.axvline(60, color=_PLAIN, linewidth=0.8)
    axes.text(63, 1.55, "its own class is at 60°", fontsize=7)


def elastic(head: ElasticArcFace | ElasticCosFace, axes: Axes) -> None:
    """The mean margin, and two deviations to either side."""
    draw(axes, {"mean margin": own_logits(head, AllAlike())})
    low_A, high_A = (own_logits(head, AllAlike(noise=noise)) for noise in (2.0, -2.0))
    axes.fill_between(_ANGLES_A, low_A, high_A, color=_BLUE, alpha=0.25, linewidth=0, label="± 2 deviations")


def sphereface(axes: Axes) -> None:
    """From the first step to its last lambda, and psi alone."""
    head, alone = SphereFace(), SphereFace(lambda_start=0.0, lambda_floor=0.0)
    curves = {f"λ = 5, at last, m = {head.margin:g}": own_logits(head, AllAlike(), step=10**6)}
    draw(axes, curves | {"λ = 0: ψ(θ)": own_logits(alone, AllAlike())})
    axes.set(ylabel="logit / ‖x‖", ylim=(-10.5, 1.9))


def binary(head: Head, axes: Axes) -> None:
    """Losses of the two sides of its threshold, on a logarithmic axis."""
    for colour, label, losses_A in zip(
        (_BLUE, _RED), ("own class", "another class"), losses_of_pair(head), strict=True
    ):
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
    for j, colour in enumerate((_BLUE, _RED)):
        of_class = labels == j
        axes.plot(*features[of_class].T, "o", markersize=4, color=colour)
        for x in features[of_class]:
            arrow(axes, x, x + 0.3 * (before[j] - x), colour)
        axes.plot(*before[j], "x", color=colour)
        arrow(axes, before[j], after[j], colour, width=1.8)
        arrow(axes, after[j], after[j] - 0.08 * margin.gradient_UD[j], _GREEN, width=1.8)
    axes.plot([], [], "o", color=_PLAIN, markersize=4, label="samples, pulled to × (center loss)")
    axes.plot([], [], color=_PLAIN, linewidth=1.8, label="centers × follow (Wen's rule)")
    axes.plot([], [], color=_GREEN, linewidth=1.8, label="and are pushed apart (MML)")
    axes.set(xlim=(-2.6, 2.6), ylim=(-2.9, 2.3), xticks=[], yticks=[], xlabel="")


def arrow(axes: Axes, start: Tensor, end: Tensor, colour: str, width: float = 0.9) -> None:
    """From one point to another."""
    style: dict[str, Any] = {"arrowstyle": "->", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(float(end[0]), float(end[1])), xytext=(float(start[0]), float(start[1])), arrowprops=style)


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

_OTHERS = {"CosFace by frequency (LDAM)": rarity, "Center loss, MML": centers}


def figure() -> Figure:
    """A panel for each head, for margins by frequency, and for the centers."""
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
        axes.spines[["left", "bottom"]].set_color(_PLAIN)
        panel(axes)
        where = "lower right" if axes.get_yscale() == "log" else "lower left"
        axes.legend(fontsize=7, loc=where, framealpha=0.9, edgecolor="none")
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
