"""What the commands of all experiments share: their options, and how they go through the arms."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.arms import Arm
from lightning_face.errors import ConfigError, FaceError

CONFIGS = Path(__file__).parents[1] / "configs"

_GOES_ON = """\
Each arm is a run in a folder of its own, OUT/NAME/seed-N. Stopped at any time and started again, the command goes on; a
finished arm is not trained again. Commands with different --seeds may share DATA and OUT, one for each core
(OMP_NUM_THREADS=1). Tables and plots in OUT are of the arms that are finished, and are written after each."""


def make_parser(description: str | None, config: Path, data: str) -> argparse.ArgumentParser:
    """A parser with the options that all experiments have.

    Args:
        description: of the experiment, a module's docstring.
        config: of the arms, by default.
        data: what DATA is.
    """
    parser = argparse.ArgumentParser(
        description=description, epilog=_GOES_ON, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA", help=data)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the runs, tables and plots")
    parser.add_argument("--config", type=Path, default=config, help="of all arms (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="of weights, data and losses (default: 1 2 3)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="finish these arms alone (default: all)")
    parser.add_argument("--report", action="store_true", help="train nothing: tables and plots of what is finished")
    return parser


def carry_out(
    arms_of: Callable[[int], Iterator[Arm]], options: argparse.Namespace, report: Callable[[Path], None]
) -> None:
    """Finish the arms of all seeds, one after the other.

    Args:
        arms_of: the arms of a seed; each is finished before the next is asked for.
        options: parsed.
        report: writes tables and plots of the arms that are finished to a folder.
    """
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for seed in () if options.report else options.seeds:
            for arm in chosen(arms_of(seed), options.only):
                _finish(arm)
                report(options.out)
        report(options.out)
    except FaceError as error:
        sys.exit(f"error: {error}")


def chosen(arms: Iterator[Arm], only: Sequence[str] | None) -> Iterator[Arm]:
    """The arms of some names, or all; those behind the last of them, which may need others finished, are not asked for.

    Raises:
        ConfigError: a name is none of an arm's.
    """
    if only is None:
        yield from arms
        return
    left = set(only)
    while left:
        arm = next(arms, None)
        if arm is None:
            raise ConfigError(f"--only {min(left)}: there is no arm of this name; leave --only out to see all of them")
        if arm.name in left:
            left.remove(arm.name)
            yield arm


def _finish(arm: Arm) -> None:
    if arm.is_finished:
        print(f"{arm.folder} is finished", flush=True)
    else:
        print(f"{arm.folder} ...", flush=True)
    started = time.monotonic()
    arm.finish()  # also of a finished one: its options must be these
    print(f"{arm.folder}: {(time.monotonic() - started) / 60:.1f} min", flush=True)
