"""Updates the rows of a class table by SGD or AdamW, some rows at a time."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from lightning_face.optim.row_config import RowOptimizerConfig

Part = slice | Tensor
"""Some rows of a table: neighbouring ones, or those at int64 places, each of them once."""


class RowOptimizer:
    """Updates rows of a class table in place, bit for bit like `torch.optim.SGD` and `torch.optim.AdamW`.

    So with state in float32; in bfloat16, as if theirs were rounded after each step.

    Each row's update depends on that row alone, so a rank that owns some rows needs only their state. A step may come
    in parts, and leave rows out: neither they nor their state change then, by weight decay or otherwise.

    Args:
        config: kind and options.
        rows: (N, ...) float32, the rows to be updated, by class; only shape, dtype and device are read.
    """

    def __init__(self, config: RowOptimizerConfig, rows: Tensor) -> None:
        self.config = config
        self._state: dict[str, Tensor] = {}
        zeros = partial(torch.zeros_like, rows, dtype=getattr(torch, config.state_dtype), requires_grad=False)
        if config.kind == "adamw":
            self._state["exp_avg"], self._state["exp_avg_sq"] = zeros(), zeros()
            # On the CPU, as torch.optim has it: read in every step, without waiting for a device.
            self._state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")
        elif config.momentum > 0.0:
            # torch.optim.SGD has no buffer before its first step and then copies the gradient. Zeros come to the
            # same, momentum * 0 + gradient, and a checkpoint can be loaded into them in place.
            self._state["momentum_buffer"] = zeros()

    def state(self) -> dict[str, Tensor]:
        """The state itself, not a copy, so that a checkpoint can be loaded in place.

        Returns:
            `momentum_buffer`, or `exp_avg` and `exp_avg_sq`, shaped as the rows, of the config's dtype; for adamw also
            `step`, a float32 scalar on the CPU that counts the steps of the table, also for a row that was left out of
            some of them. Empty for sgd without momentum.
        """
        return dict(self._state)

    @torch.no_grad()
    def step(self, rows: Tensor, gradients: Iterable[tuple[Part, Tensor]], lr: float) -> None:
        """Update the rows and the state in place, part by part: each part's gradient may be dropped after its turn.

        Args:
            rows: (N, ...) float32.
            gradients: which rows, and the gradient of the global loss with respect to them, only read; all parts of
                one step, each row at most once, those of no part stay as they are.
            lr: the backbone's learning rate at this step, before `lr_multiplier`.
        """
        update = self._step_adamw if self.config.kind == "adamw" else self._step_sgd
        tables = {"rows": rows, **{name: value for name, value in self._state.items() if value.ndim}}
        for part, gradient in gradients:
            parts = {name: table[part].float() for name, table in tables.items()}
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
    """Put the new values of a part into their table; a slice of float32 is a view of it: they are there already."""
    if not isinstance(part, slice) or table.dtype != updated.dtype:
        table[part] = updated.to(table.dtype)
