"""`python -m lightning_face`: errors a user can mend are one line, and the exit code says whether the work was done."""

import faulthandler
import logging
import multiprocessing
import os
import re
import signal
import sys
import warnings
from importlib import import_module
from typing import NoReturn

from lightning_face import signals
from lightning_face.commands import COMMANDS
from lightning_face.errors import FaceError, StoppedError, WorkerEndedError

_WORKER_ENDED = re.compile(r"pid(\(s\))? [\d, ]+\) (is killed by signal: [\w ]+|exited unexpectedly)")
"""What torch says of a data worker."""


def command_line() -> NoReturn:
    """The program: `main`, with what concerns the whole process around it.

    `fit` saves before it ends by a signal; other commands have nothing to save, and end at once. Every process writes
    its stacks on SIGUSR2.
    """
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # started by rank 0, or by torchrun
        signals.end_with_parent()
    if sys.argv[1:2] == ["fit"]:
        signals.catch()
    signals.let_through()
    try:
        code = main()
    finally:
        signals.ignore()
        _end_children()
    sys.exit(code)


def _end_children() -> None:
    """Data workers that are stuck would keep the process that waits for them."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call their end an error
    for child in multiprocessing.active_children():
        child.kill()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code, see `errors`; 0 if the work is done."""
    _keep_the_libraries_quiet()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _run(given)
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None:
            raise
        _report(mistake)
        return mistake.exit_code
    return 0


def _report(mistake: FaceError) -> None:
    """Say what ended the run: each rank, since any may be the only one; that all have stopped is said once."""
    where = "" if _rank() == "0" else f" on rank {_rank()}"
    if not isinstance(mistake, StoppedError):
        print(f"error{where}: {one_line(mistake)}", file=sys.stderr)
    elif not where:
        print(one_line(mistake), file=sys.stderr)


def _rank() -> str:
    """Number of this rank, as Lightning finds it before ranks have met."""
    return next((os.environ[name] for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), "0")


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
    """What a user can mend, that an error reports or was raised for: the parser wraps what a config's checks raise."""
    while error is not None and not isinstance(error, FaceError):
        if ended := _WORKER_ENDED.search(str(error)):
            return WorkerEndedError(
                f"a data worker was killed ({ended[0]}): most often memory ran out; lower data.num_workers or ask for"
                " more memory; start again and the run goes on from its last checkpoint"
            )
        error = error.__cause__
    return error


def one_line(mistake: FaceError) -> str:
    """The message; of a data worker's error, which torch wraps into a traceback, the last line."""
    lines = str(mistake).strip().splitlines() or [""]
    return lines[-1].removeprefix(f"{type(mistake).__module__}.{type(mistake).__qualname__}: ")


if __name__ == "__main__":
    command_line()
