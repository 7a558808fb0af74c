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
    from lightning_face.cli import run

    try:
        run(arguments)
    except FaceError as error:
        rank = os.environ.get("LOCAL_RANK", "0")
        print(f"error{'' if rank == '0' else f' on rank {rank}'}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
