"""How the rows of a class table are updated."""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from lightning_face.errors import ConfigError

RowOptimizerKind = Literal["sgd", "adamw"]
StateDtype = Literal["float32", "bfloat16"]

_KINDS_USING = {"momentum": ("sgd",), "betas": ("adamw",), "eps": ("adamw",)}

_SLOWEST_IN_BFLOAT16 = 1.0 - 2.0**-8
"""A running mean that decays more slowly would be rounded back to where it was, and never forget a large gradient."""


@dataclass(frozen=True, kw_only=True)
class RowOptimizerConfig:
    """How the rows of a class table are updated.

    Args:
        kind: sgd or adamw.
        momentum: for sgd: in [0, 1).
        weight_decay: at least 0; added to the gradient by sgd, decoupled from it by adamw.
        betas: for adamw: decay of the running means of the gradient and of its square, each in [0, 1).
        eps: for adamw: added to the denominator, positive.
        state_dtype: float32, or bfloat16 for half the memory of momentum and running means, which are calculated in
            float32 and rounded when stored.
        lr_multiplier: the table's learning rate over the backbone's, at least 0; 0 freezes the rows.

    Raises:
        ConfigError: a value out of its range, or an option that the kind does not use.
    """

    kind: RowOptimizerKind = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    state_dtype: StateDtype = "float32"
    lr_multiplier: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(RowOptimizerKind):
            kinds = " or ".join(get_args(RowOptimizerKind))
            raise ConfigError(f"row optimizer's kind must be {kinds}, got {self.kind!r}")
        if self.state_dtype not in get_args(StateDtype):
            dtypes = " or ".join(get_args(StateDtype))
            raise ConfigError(f"row optimizer's state_dtype must be {dtypes}, got {self.state_dtype!r}")
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
        limit = 1.0 if self.state_dtype == "float32" else _SLOWEST_IN_BFLOAT16
        below = f"at most {limit} with state_dtype bfloat16, which would lose smaller changes (or use float32)"
        rules = (
            ("momentum", 0.0 <= self.momentum < 1.0, "in [0, 1)"),
            ("weight_decay", 0.0 <= self.weight_decay < math.inf, "at least 0"),
            ("betas", all(0.0 <= beta < 1.0 for beta in self.betas), "in [0, 1) each"),
            ("momentum", self.momentum <= limit, below),
            ("betas", max(self.betas) <= limit or self.kind == "sgd", below),
            ("eps", 0.0 < self.eps < math.inf, "positive"),
            ("lr_multiplier", 0.0 <= self.lr_multiplier < math.inf, "at least 0"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ConfigError(f"row optimizer's {name} must be {rule}, got {getattr(self, name)}")
