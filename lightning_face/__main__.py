"""`python -m lightning_face`: errors a user can mend are one line, and the exit code says whether the work was done."""

import logging
import os
import sys
import warnings
from importlib import import_module

from lightning_face.commands import COMMANDS
from lightning_face.errors import FaceError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 2 bad input, 3 the loss is not finite."""
    _keep_the_libraries_quiet()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _run(given)
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None:
            raise
        rank = os.environ.get("LOCAL_RANK", "0")
        print(f"error{'' if rank == '0' else f' on rank {rank}'}: {one_line(mistake)}", file=sys.stderr)
        return mistake.exit_code
    return 0


def _keep_the_libraries_quiet() -> None:
    """Show what concerns the run; each line here is a message that would only raise questions."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Lightning advertises other packages.
    rank_zero = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    rank_zero.addFilter(lambda record: "Tip: For seamless cloud" not in record.getMessage())
    # Lightning cannot know that our sampler starts where the checkpoint ends.
    warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended")
    # Every rank computes the same figures of the whole verification set.
    warnings.filterwarnings("ignore", "It is recommended to use `self.log")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    # A run without SLURM is nothing unusual where SLURM is installed.
    warnings.filterwarnings("ignore", "The `srun` command is available")
    # The new name is unknown to torch 2.11.
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")


def _run(arguments: list[str]) -> None:
    if arguments and arguments[0] in COMMANDS:
        import_module(f"lightning_face.commands.{arguments[0]}").main(arguments[1:])
        return
    from lightning_face.cli import run

    others = (f"`python -m lightning_face {name} --help`: {summary}" for name, summary in COMMANDS.items())
    run(arguments, others=f"Also: {'; '.join(others)}")


def mistake_behind(error: BaseException | None) -> FaceError | None:
    """The user's mistake that an error reports, or was raised for: the parser wraps what a config's checks raise."""
    while error is not None and not isinstance(error, FaceError):
        error = error.__cause__
    return error


def one_line(mistake: FaceError) -> str:
    """The message; of a data worker's error, which torch wraps into a traceback, the last line."""
    lines = str(mistake).strip().splitlines() or [""]
    return lines[-1].removeprefix(f"{type(mistake).__module__}.{type(mistake).__qualname__}: ")


if __name__ == "__main__":
    sys.exit(main())
