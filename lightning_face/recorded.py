"""The options of a run: recorded in its folder, and compared when it goes on."""

import json
from inspect import isfunction
from pathlib import Path
from typing import Any

from lightning_face.checkpoint.directory import describe
from lightning_face.errors import CheckpointError, ConfigError

CONFIG_FILE = "config.yaml"

NETWORK_OPTIONS = ("model.backbone", "model.average_decay", "data.image_size", "data.channels")
"""Beginnings of the options that say which network it is, and whether its average is beside it."""

KEPT_OPTIONS = (
    "model",
    "seed_everything",
    "data.augment",
    "data.image_size",
    "data.channels",
    "data.decode",
    "trainer.precision",
    "trainer.gradient_clip",
    "trainer.sync_batchnorm",
)
"""Beginnings of the options that may not change when a run goes on; the order of data is compared by `Position`."""


def kept_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options that may not change, by dotted name."""
    return {name: value for name, value in _flattened(options).items() if name.startswith(KEPT_OPTIONS)}


def check_same_options(checkpoint: Path, now: dict[str, Any], only: tuple[str, ...] = KEPT_OPTIONS) -> None:
    """Compare options with those that a checkpoint was trained with.

    Args:
        checkpoint: whose description has the former ones.
        now: see `kept_options`.
        only: beginnings of the names that matter.

    Raises:
        CheckpointError: lists each difference.
    """
    before = describe(checkpoint).options
    differences = [
        f"{name}: {before.get(name)} -> {now.get(name)}"
        for name in sorted({*before, *now})
        if name.startswith(only) and before.get(name) != now.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"{checkpoint} was trained with other options: {'; '.join(differences)};"
            " use the former values, or another --run_dir"
        )


def with_recorded_config(arguments: list[str]) -> list[str]:
    """`test --run_dir DIR` needs no more: the run's own config is used where none is given.

    Raises:
        ConfigError: there is none, and the command evaluates a run.
    """
    if not arguments or arguments[0] not in ("fit", "validate", "test", "predict"):
        return arguments
    if any(argument.split("=")[0] in ("--config", "-c", "--help", "-h") for argument in arguments):
        return arguments
    for position, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--run_dir":
            value = value or next(iter(arguments[position + 1 :]), "")
            recorded = Path(value) / CONFIG_FILE
            if recorded.is_file():
                return [arguments[0], "--config", str(recorded), *arguments[1:]]
            if arguments[0] != "fit":
                raise ConfigError(f"--run_dir {value} is no run folder: it has no {CONFIG_FILE}; give one, or --config")
    return arguments


def _flattened(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted name, with values as JSON gives them back."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.loads(json.dumps(value, default=_name_of))
    return flat


def _name_of(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}" if isfunction(value) else str(value)
