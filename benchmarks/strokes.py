"""Colours and arrows that the panels of `loss_curves` share."""

from typing import Any

from matplotlib.axes import Axes
from torch import Tensor

BLUE, RED, GREEN, PLAIN = "#0072B2", "#D55E00", "#009E73", "#999999"


def arrow(axes: Axes, start: Tensor, end: Tensor, colour: str, width: float = 0.9) -> None:
    """From one point to another."""
    style: dict[str, Any] = {"arrowstyle": "->", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(float(end[0]), float(end[1])), xytext=(float(start[0]), float(start[1])), arrowprops=style)
