"""`python -m data_prep COMMAND`: see `python -m data_prep --help`."""

import sys
from collections.abc import Sequence

from data_prep.cli import build_parser
from lightning_face.errors import FaceError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: of the command line; None takes the program's own.

    Returns:
        Exit code: 0, 1 where `check` or `overlap` found something, 2 for an error, 130 when interrupted.
    """
    try:
        options = vars(build_parser().parse_args(arguments))
        code = options.pop("run")(**options)
        return code if isinstance(code, int) else 0
    except FaceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it stopped", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
