"""Memory of preparing MS-Celeb-1M from standard input, against the number of its lines.

Makes lines as they are published, of small pictures, a tenth of them twice, and pipes them into
`python -m data_prep msceleb1m - OUT --workers 0`, once for each number of lines. Prints a table and leaves
streaming.json and .md in the output folder.
"""

import argparse
import base64
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from benchmarks.sheets import Sheet, markdown
from data_prep.arguments import at_least
from data_prep.synthetic.pictures import Item, Renderer

_PICTURES, _PICTURE_SIZE, _QUALITY = 300, 32, 75
_LINES_AT_ONCE, _REPEATED = 1000, 10
_RECTANGLE = base64.b64encode(bytes(16))
_MEASURED = """
import sys, time
from data_prep.__main__ import main
code = main(sys.argv[1:])
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(time.process_time(), peak)
sys.exit(code)
"""
"""Says at its end what it took: what the system says of a child that has ended begins with its parent's memory."""

_LEGEND = (
    "us: CPU time per line, that of making it left out; MB: most memory that the process ever held, interpreter and"
    " libraries included; beyond: bytes per line beyond those of the first row."
)


@dataclass(frozen=True)
class Usage:
    """What a command took for so many lines: seconds of CPU time, and bytes of memory at most."""

    lines: int
    cpu_seconds: float
    peak_bytes: int


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = _pictures()
    usages = [
        _measure(pictures, number, options.images_of_identity, options.out) for number in sorted(set(options.lines))
    ]
    report = markdown([_sheet(usages)], _LEGEND)
    print(report)
    (options.out / "streaming.md").write_text(report)
    machine = {"processor": platform.processor() or platform.machine()}
    content = {
        "machine": {**machine, "date": datetime.now(UTC).isoformat(timespec="seconds")},
        "usages": [asdict(usage) for usage in usages],
    }
    (options.out / "streaming.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"{options.out}/streaming.json, .md")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.streaming", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--lines",
        type=at_least(1),
        nargs="+",
        default=[200_000, 2_000_000],
        metavar="N",
        help="default: 200000 2000000",
    )
    parser.add_argument("--images-of-identity", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder (default: runs/benchmarks)")
    return parser


def _pictures() -> list[bytes]:
    renderer = Renderer(size=_PICTURE_SIZE, quality=_QUALITY, seed=0, reuse=None)
    return [renderer(Item(number, 0)) for number in range(_PICTURES)]


def tsv_lines(pictures: Sequence[bytes], num_lines: int, images_of_identity: int) -> Iterator[bytes]:
    """Lines of seven columns: MID, rank, two URLs, face id, rectangle and picture, with its number in a comment.

    Every tenth has the picture of the line before it.
    """
    rests = [base64.b64encode(picture[2:]) for picture in pictures]
    for number in range(num_lines):
        identity, rank = divmod(number, images_of_identity)
        shown = number - (number % _REPEATED == _REPEATED - 1)
        # As many bytes as three divides, so that what follows in base64 is always the same.
        beginning = base64.b64encode(pictures[0][:2] + b"\xff\xfe\x00\x0e%012d" % shown)
        yield b"m.%06x\t%d\thttp://i\thttp://p\tFaceId-%d\t%s\t%s%s\n" % (
            identity, rank, rank, _RECTANGLE, beginning, rests[shown % len(rests)]
        )  # fmt: skip


def _measure(pictures: Sequence[bytes], num_lines: int, images_of_identity: int, out: Path) -> Usage:
    print(f"{num_lines:,} lines ...", flush=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        command = [sys.executable, "-c", _MEASURED, "msceleb1m", "-", f"{folder}/out", "--workers", "0"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            lines = tsv_lines(pictures, num_lines, images_of_identity)
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # its exit code says more
                while block := b"".join(islice(lines, _LINES_AT_ONCE)):
                    pipe.write(block)
            *_, last = [b"", *process.stdout]
        assert process.returncode == 0, f"{command} ended with {process.returncode}"
    cpu_seconds, peak_kilobytes = last.split()
    return Usage(num_lines, float(cpu_seconds), 1024 * int(peak_kilobytes))


def _sheet(usages: Sequence[Usage]) -> Sheet:
    first = usages[0]
    rows = [
        (
            f"{usage.lines:,}",
            f"{1e6 * usage.cpu_seconds / usage.lines:.0f}",
            f"{usage.peak_bytes / 1e6:.0f}",
            "" if usage is first else f"{(usage.peak_bytes - first.peak_bytes) / (usage.lines - first.lines):.1f}",
        )
        for usage in usages
    ]
    return Sheet(("lines", "us", "MB", "beyond"), rows)


if __name__ == "__main__":
    main()
