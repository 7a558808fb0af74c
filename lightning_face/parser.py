"""The parser of the command line: what it cannot read is one line, where jsonargparse prints its whole usage."""

import re
from typing import NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from lightning_face.errors import ConfigError

_IN_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
"""Types, as people say them."""


class OneLineParser(LightningArgumentParser):
    """Raises instead of printing its usage and leaving."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what was found, in one line.

        Raises:
            ConfigError: unless another type is to be tried for the same value.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        raise ConfigError(f"{in_one_line(message)}; see `python -m lightning_face fit --help`") from ex


def in_one_line(message: str) -> str:
    """Which option cannot have which value, and why; of other messages, all words.

    A message about nested options names each level, and tries the value as each of several types.
    """
    option = re.findall(r'[Pp]arser key "([^"]+)"', message)
    values = re.findall(r"(?:Given|Got) value: (?!NestedArg)(.+)", message)
    if not option or not values:
        return " ".join(message.split())
    kinds = _expected(message)
    name = f"--{'.'.join(dict.fromkeys(option))}"
    if missing := re.findall(r"the following arguments are required: (.+)", message):
        return f"{name} needs {missing[0]}"
    reasons = re.findall(r"Option '[^']+' is not accepted", message)
    if "Expected a dot import path string" in message:
        is_text_of_mapping = values[0].startswith("{") and "Given value type: <class 'str'>" in message
        no_class = "there is no such class, the help names those there are"
        reasons.append("in YAML a blank follows each colon" if is_text_of_mapping else no_class)
    why = "; ".join(dict.fromkeys(reasons)) or (f"give {_listed(kinds)}" if kinds else "")
    return f"{name} cannot be {values[0]}" + (f": {why}" if why else "")


def _expected(message: str) -> list[str]:
    """The choices and the types that a message names, each once."""
    found = re.findall(r"Expected an? <class '([^']+)'>|Literal\[([^\]]+)\]", message)
    names = [_IN_WORDS.get(kind, kind) for kind, _ in found if kind and kind != "NoneType"]
    choices = [choice.strip().strip("'") for _, literal in found if literal for choice in literal.split(",")]
    return list(dict.fromkeys([*choices, *names]))


def _listed(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
