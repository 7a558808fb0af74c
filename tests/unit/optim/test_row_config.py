"""What a row optimizer cannot do is refused in one line."""

from typing import Any

import pytest

from lightning_face.errors import ConfigError
from lightning_face.optim.row_config import RowOptimizerConfig


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"kind": "lamb"}, "row optimizer's kind must be sgd or adamw, got 'lamb'"),
        ({"lr_multiplier": -1.0}, "row optimizer's lr_multiplier must be at least 0, got -1.0"),
        ({"momentum": 1.0}, r"row optimizer's momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, "row optimizer's momentum must be"),
        ({"weight_decay": float("nan")}, "row optimizer's weight_decay must be at least 0, got nan"),
        ({"kind": "adamw", "betas": (0.9, 1.0)}, r"row optimizer's betas must be in \[0, 1\) each"),
        ({"kind": "adamw", "eps": 0.0}, "row optimizer's eps must be positive, got 0.0"),
        ({"state_dtype": "float16"}, "row optimizer's state_dtype must be float32 or bfloat16, got 'float16'"),
        (
            {"kind": "adamw", "state_dtype": "bfloat16"},
            r"row optimizer's betas must be at most 0.99609375 with state_dtype bfloat16.*, got \(0.9, 0.999\)",
        ),
        ({"momentum": 0.999, "state_dtype": "bfloat16"}, "row optimizer's momentum must be at most 0.99609375 with"),
        ({"kind": "adamw", "momentum": 0.5}, "row optimizer's momentum has no effect with kind adamw.* use kind sgd"),
        ({"eps": 1e-6}, "row optimizer's eps has no effect with kind sgd"),
    ],
)
def test_bad_option(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        RowOptimizerConfig(**options)
