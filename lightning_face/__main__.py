"""`python -m lightning_face`: errors a user can mend are one line, and the exit code says whether the work was done."""

import logging
import os
import sys
import warnings

from lightning_face.errors import FaceError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 2 bad input, 3 the loss is not finite."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Lightning cannot know that our sampler starts where the checkpoint ends.
    warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended")
    # Every rank computes the same figures of the whole verification set.
    warnings.filterwarnings("ignore", "It is recommended to use `self.log")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    from lightning_face.cli import run

    try:
        run(arguments)
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None:
            raise
        rank = os.environ.get("LOCAL_RANK", "0")
        print(f"error{'' if rank == '0' else f' on rank {rank}'}: {one_line(mistake)}", file=sys.stderr)
        return mistake.exit_code
    return 0


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
