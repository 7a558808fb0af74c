"""The optimizer of a class table: torch's own arithmetic on plain tensors that no engine sees."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from lightning_face.errors import ConfigError

RowOptimizerKind = Literal["sgd", "adamw"]

Part = slice | Tensor
"""Some rows of a table: neighbouring ones, or those at int64 places, each of them once."""

_KINDS_USING = {"momentum": ("sgd",), "betas": ("adamw",), "eps": ("adamw",)}


@dataclass(frozen=True, kw_only=True)
class RowOptimizerConfig:
    """How the rows of a class table are updated.

    Args:
        kind: sgd or adamw.
        momentum: for sgd: in [0, 1).
        weight_decay: at least 0; added to the gradient by sgd, decoupled from it by adamw.
        betas: for adamw: decay of the running means of the gradient and of its square, each in [0, 1).
        eps: for adamw: added to the denominator, positive.
        lr_multiplier: the table's learning rate over the backbone's, at least 0; 0 freezes the rows.

    Raises:
        ConfigError: a value out of its range, or an option that the kind does not use.
    """

    kind: RowOptimizerKind = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    lr_multiplier: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(RowOptimizerKind):
            kinds = " or ".join(get_args(RowOptimizerKind))
            raise ConfigError(f"row optimizer's kind must be {kinds}, got {self.kind!r}")
        self._check_unused()
        self._check_ranges()

    def _check_unused(self) -> None:
        for field in fields(self):
            users = _KINDS_USING.get(field.name, get_args(RowOptimizerKind))
            value = getattr(self, field.name)
            if self.kind not in users and value != field.default:
                raise ConfigError(
                    f"row optimizer's {field.name} has no effect with kind {self.kind}, got {value}: "
                    f"leave it out, or use kind {' or '.join(users)}"
                )

    def _check_ranges(self) -> None:
        rules = (
            ("momentum", 0.0 <= self.momentum < 1.0, "in [0, 1)"),
            ("weight_decay", 0.0 <= self.weight_decay < math.inf, "at least 0"),
            ("betas", all(0.0 <= beta < 1.0 for beta in self.betas), "in [0, 1) each"),
            ("eps", 0.0 < self.eps < math.inf, "positive"),
            ("lr_multiplier", 0.0 <= self.lr_multiplier < math.inf, "at least 0"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ConfigError(f"row optimizer's {name} must be {rule}, got {getattr(self, name)}")


class RowOptimizer:
    """Updates rows of a class table in place, bit for bit like `torch.optim.SGD` and `torch.optim.AdamW`.

    Each row's update depends on that row alone, so a rank that owns some rows needs only their state, and a step may
    come in parts, and leave rows out: neither they nor their state change, by weight decay or otherwise.

    Args:
        config: kind and options.
        rows: (K, D) float32, the rows to be updated; only shape, dtype and device are read.
    """

    def __init__(self, config: RowOptimizerConfig, rows: Tensor) -> None:
        self.config = config
        self._state: dict[str, Tensor] = {}
        if config.kind == "adamw":
            self._state["exp_avg"] = torch.zeros_like(rows, requires_grad=False)
            self._state["exp_avg_sq"] = torch.zeros_like(rows, requires_grad=False)
            # On the CPU, as torch.optim has it: read in every step, without waiting for a device.
            self._state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")
        elif config.momentum > 0.0:
            # torch.optim.SGD has no buffer before its first step and then copies the gradient. Zeros come to the
            # same, momentum * 0 + gradient, and a checkpoint can be loaded into them in place.
            self._state["momentum_buffer"] = torch.zeros_like(rows, requires_grad=False)

    def state(self) -> dict[str, Tensor]:
        """The state itself, not a copy, so that a checkpoint can be loaded in place.

        Returns:
            `momentum_buffer`, or `exp_avg` and `exp_avg_sq`, shaped as the rows; for adamw also `step`, a float32
            scalar on the CPU that counts the steps of the table, also for a row that was left out of some of them.
            Empty for sgd without momentum.
        """
        return dict(self._state)

    @torch.no_grad()
    def step(self, rows: Tensor, gradients: Iterable[tuple[Part, Tensor]], lr: float) -> None:
        """Update the rows and the state in place, part by part: each part's gradient may be dropped after its turn.

        Args:
            rows: (K, D) float32.
            gradients: which rows, and the gradient of the global loss with respect to them, only read; all parts of
                one step, each row at most once, those of no part stay as they are.
            lr: the backbone's learning rate at this step, before `lr_multiplier`.
        """
        update = self._step_adamw if self.config.kind == "adamw" else self._step_sgd
        tables = {"rows": rows, **{name: value for name, value in self._state.items() if value.ndim}}
        for part, gradient in gradients:
            parts = {name: table[part] for name, table in tables.items()}
            update(parts, gradient, lr * self.config.lr_multiplier)
            for name, table in tables.items():
                _write_back(table, part, parts[name])
        if "step" in self._state:
            self._state["step"] += 1

    def _step_sgd(self, parts: dict[str, Tensor], gradient: Tensor, row_lr: float) -> None:
        sgd(
            [parts["rows"]],
            [gradient],
            [parts.get("momentum_buffer")],
            weight_decay=self.config.weight_decay,
            momentum=self.config.momentum,
            lr=row_lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )

    def _step_adamw(self, parts: dict[str, Tensor], gradient: Tensor, row_lr: float) -> None:
        adamw(
            [parts["rows"]],
            [gradient],
            [parts["exp_avg"]],
            [parts["exp_avg_sq"]],
            [],
            [self._state["step"].clone()],  # counted up by each part: all of them belong to one step
            amsgrad=False,
            beta1=self.config.betas[0],
            beta2=self.config.betas[1],
            lr=row_lr,
            weight_decay=self.config.weight_decay,
            eps=self.config.eps,
            maximize=False,
        )


def _write_back(table: Tensor, part: Part, updated: Tensor) -> None:
    """Put the new values of a part into their table; a slice is a view of it, and has put them there already."""
    if not isinstance(part, slice):
        table[part] = updated
