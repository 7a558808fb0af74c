"""Pieces of the command line: a parser that raises, the types of its options, and the options that commands share."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lightning_face.errors import ConfigError

DEFAULT_SHARD_SAMPLES = 4096
"""About 30 MB of faces at 112x112: seconds of work to lose, few files, and enough of them to spread over workers."""


class Parser(argparse.ArgumentParser):
    """Raises instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argument type: integers in a range."""
    rule = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"must be {rule}, not {text!r}")
        return value

    return integer


# argparse keeps the class that `add_subparsers` returns private.
Commands = Any


def add_command(commands: Commands, name: str, run: Callable[..., object], summary: str, example: str) -> Parser:
    """A command that calls `run` with its options; `example` is what may follow its name."""
    parser: Parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False,
        epilog=f"example:\n  python -m data_prep {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def add_path(parser: Parser, name: str, metavar: str, text: str) -> None:
    """A path that must be given."""
    parser.add_argument(name, type=Path, metavar=metavar, help=text)


def add_file(parser: Parser, flag: str, text: str) -> None:
    """An option that names a file."""
    parser.add_argument(flag, type=Path, metavar="FILE", help=text)


def add_number(parser: Parser, flag: str, type_: Callable[[str], int], default: int | None, text: str) -> None:
    """An option that is a number; `text` says what happens without it if there is no default."""
    shown = "" if default is None else " (default: %(default)s)"
    parser.add_argument(flag, type=type_, default=default, metavar="N", help=text + shown)


def add_workers(parser: Parser) -> None:
    """`--workers`, as many as this process may use cores."""
    cores = len(os.sched_getaffinity(0))
    add_number(parser, "--workers", at_least(0), cores, "processes that work at a time; 0: no other than this")


def add_writing(parser: Parser, size: int, size_text: str, quality_text: str) -> None:
    """The options of commands that write images: their size, 0 only if that is the default, quality and shards."""
    add_number(parser, "--size", at_least(size and 16, 4096), size, size_text)
    add_number(parser, "--quality", at_least(1, 100), 95, quality_text)
    add_number(parser, "--shard-samples", at_least(1), DEFAULT_SHARD_SAMPLES, "images in a shard, at most")
    add_workers(parser)
