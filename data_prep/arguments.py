"""Pieces of the command line: a parser that raises, the types of its options, and the options that commands share."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from data_prep.passes.parts import WHOLE, Job, Part
from data_prep.passes.recipe import DEFAULT_SHARD_SAMPLES, Recipe
from data_prep.sources.people import read_lines
from lightning_face.errors import ConfigError


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


def a_share(text: str) -> float:
    """An argument type: numbers from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to 1, not {text!r}")
    return value


def a_part(text: str) -> Part:
    """An argument type: I/N, with I from 1 to N."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/8, not {text!r}")
    return Part(int(number), int(of))


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


Group = argparse._ActionsContainer
"""A parser, or some of its options under a heading; argparse keeps their common class private."""


def add_path(parser: Group, name: str, metavar: str, text: str) -> None:
    """A path that must be given."""
    parser.add_argument(name, type=Path, metavar=metavar, help=text)


def add_file(parser: Group, flag: str, text: str) -> None:
    """An option that names a file."""
    parser.add_argument(flag, type=Path, metavar="FILE", help=text)


def add_number(parser: Group, flag: str, type_: Callable[[str], int], default: int | None, text: str) -> None:
    """An option that is a number; `text` says what happens without it if there is no default."""
    shown = "" if default is None else " (default: %(default)s)"
    parser.add_argument(flag, type=type_, default=default, metavar="N", help=text + shown)


def add_workers(parser: Parser) -> None:
    """`--workers`, as many as this process may use cores."""
    cores = len(os.sched_getaffinity(0))
    add_number(parser, "--workers", at_least(0), cores, "processes that work at a time; 0: no other than this")


def add_max_rejected(parser: Group) -> None:
    """`--max-rejected`."""
    parser.add_argument(
        "--max-rejected", type=a_share, default=1.0, metavar="SHARE",
        help="share of images that cannot be used (damaged, say) above which nothing is made but rejected.csv"
        " (default: any share below all); where parts are merged, an option of `merge`",
    )  # fmt: skip


def add_source(parser: Parser) -> None:
    """The options of commands that make a dataset of a source; `with_recipe` takes them."""
    group = parser.add_argument_group("who is kept", "Whatever is left out is listed in rejected.csv, with the reason.")
    add_number(group, "--min-images", at_least(1), 1, "leave out identities that have fewer images left")
    text = "keep the N identities with the most images, of equal ones the first by name (without: all)"
    add_number(group, "--max-identities", at_least(1), None, text)
    add_file(group, "--exclude", "leave out the identities named here, a line each: those of the test sets, say")
    add_max_rejected(group)
    add_number(
        group, "--near-duplicates", at_least(0, 16), None,
        "keep, but list in near_duplicates.csv, pairs of images of one identity whose perceptual hashes differ in N of"
        " 64 bits or fewer; of aligned faces, 2 finds copies, and 8 mostly different pictures (without: do not look)",
    )  # fmt: skip
    group = parser.add_argument_group("order and work")
    add_number(group, "--seed", at_least(0), 0, "of the order in which images are spread over the shards")
    group.add_argument(
        "--part", type=a_part, default=WHOLE, metavar="I/N",
        help="gather only part I of N, counted from 1, for job arrays: all parts with the same other options, at once"
        " or one after the other, then `python -m data_prep merge OUT`",
    )  # fmt: skip


def with_recipe(make: Callable[..., object]) -> Callable[..., object]:
    """Calls `make` with `recipe` and `job` in place of the options that they are made of."""

    def call(**options: Any) -> object:  # passed on, checked by the parser
        exclude: Path | None = options.pop("exclude")
        excluded = tuple(sorted({line.strip() for line in read_lines(exclude)} - {""})) if exclude else ()
        names = ("min_images", "max_identities", "near_duplicates", "seed", "shard_samples")
        recipe = {name: options.pop(name) for name in names}
        job = Job(**{name: options.pop(name) for name in ("part", "max_rejected", "workers")})
        return make(**options, recipe=Recipe(**recipe, exclude=excluded), job=job)

    return call


def add_shards(parser: Parser) -> None:
    """`--shard-samples`."""
    add_number(parser, "--shard-samples", at_least(1), DEFAULT_SHARD_SAMPLES, "images in a shard, at most")


def add_writing(parser: Parser, size: int, size_text: str, quality_text: str) -> None:
    """The options of commands that write images: their size, 0 only if that is the default, quality and shards."""
    add_number(parser, "--size", at_least(size and 16, 4096), size, size_text)
    add_number(parser, "--quality", at_least(1, 100), 95, quality_text)
    add_shards(parser)
    add_workers(parser)
