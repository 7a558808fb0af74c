"""Cost of preparing: RecordIO to shuffled, checked shards, beside a plain copy of the same members with `tarfile`.

Generates a set of insightface's form, then makes shards of it and copies them, in turns, in this process. CPU time
holds on a shared machine; time does not. Prints tables and leaves preparing.json and .md in the output folder.
"""

import argparse
import contextlib
import io
import json
import platform
import shutil
import statistics
import struct
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.sheets import Sheet, markdown
from data_prep.__main__ import main as prepare
from data_prep.sources.recordio import MAGIC
from data_prep.synthetic.pictures import Item, Renderer

AT_LEAST = 0.7
"""CPU time of the copy over ours."""

_PICTURES, _IMAGES_OF_IDENTITY = 300, 20
_LEGEND = (
    "us: CPU time per image, median of the rounds; / ours: median of the rounds' ratios. Ours decodes every image, to"
    " see if it is whole, drops duplicates, shuffles, writes checksums, an index and a report."
)


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        write_records(Path(folder) / "set", options.images)
        ours, copy = _measure(Path(folder), options.images, options.rounds)
    report = markdown(_sheets(ours, copy), _LEGEND)
    print(report)
    (options.out / "preparing.md").write_text(report)
    facts = {"processor": platform.processor() or platform.machine(), "images": options.images}
    content = {
        "machine": {**facts, "date": datetime.now(UTC).isoformat(timespec="seconds")},
        "cpu_seconds_per_image": {"ours": ours, "copy": copy},
        "target": {"value": ratio(ours, copy), "at_least": AT_LEAST, "is_met": ratio(ours, copy) >= AT_LEAST},
    }
    (options.out / "preparing.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"{options.out}/preparing.json, .md")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.preparing", description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=20_000, metavar="N", help="of the set (default: 20000)")
    parser.add_argument("--rounds", type=int, default=7, help="each makes and copies all shards (default: 7)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder (default: runs/benchmarks)")
    return parser


def write_records(folder: Path, num_images: int) -> None:
    """A set of pictures of 112 x 112 pixels that no two have the same bytes: each says its number in a comment."""
    folder.mkdir()
    renderer = Renderer(size=112, quality=95, seed=0, reuse=None)
    pictures = [renderer(Item(number, 0)) for number in range(min(_PICTURES, num_images))]
    identities = -(-num_images // _IMAGES_OF_IDENTITY)
    with (folder / "train.rec").open("wb") as records, (folder / "train.idx").open("w") as index:
        for key, (labels, image) in enumerate(_packed(pictures, num_images)):
            index.write(f"{key}\t{records.tell()}\n")
            data = struct.pack("<IfQQ", len(labels), 0, key, 0) + struct.pack(f"<{len(labels)}f", *labels) + image
            records.write(MAGIC + struct.pack("<I", len(data)) + data + bytes(-len(data) % 4))
    (folder / "property").write_text(f"{identities},112,112")


def _packed(pictures: Sequence[bytes], num_images: int) -> Iterator[tuple[tuple[float, float], bytes]]:
    yield (num_images + 1, num_images + 1), b""  # where records of identities would begin
    for number in range(num_images):
        picture = pictures[number % len(pictures)]
        comment = b"\xff\xfe\x00\x0a%08d" % number
        yield (number // _IMAGES_OF_IDENTITY, 0.0), picture[:2] + comment + picture[2:]


def _measure(folder: Path, num_images: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds per image of both in each round, after one that is not counted."""
    ours, copy = list[float](), list[float]()
    for number in range(rounds + 1):
        print(f"round {number} of {rounds} ...", flush=True)
        ours.append(_cpu_seconds(lambda: _prepare(folder)) / num_images)
        copy.append(_cpu_seconds(lambda: copy_tars(folder / "out", folder / "copy")) / num_images)
    return ours[1:], copy[1:]


def _cpu_seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _prepare(folder: Path) -> None:
    shutil.rmtree(folder / "out", ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        code = prepare(["recordio", str(folder / "set"), str(folder / "out"), "--workers", "0"])
    assert code == 0


def copy_tars(source: Path, target: Path) -> None:
    """Every member of every tar, as one would write it."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.glob("*.tar")):
        with tarfile.open(path) as tar, tarfile.open(target / path.name, "w") as copy:
            for member in tar:
                copy.addfile(member, tar.extractfile(member))


def ratio(ours: Sequence[float], copy: Sequence[float]) -> float:
    """Cost of the copy over ours: the median over the rounds, in which both met the same neighbours."""
    return statistics.median(other / own for own, other in zip(ours, copy, strict=True))


def _sheets(ours: Sequence[float], copy: Sequence[float]) -> list[Sheet]:
    value = ratio(ours, copy)
    costs = [
        (name, f"{1e6 * statistics.median(seconds):.1f}", f"{ratio(ours, seconds):.2f}")
        for name, seconds in (("recordio", ours), ("tarfile copy", copy))
    ]
    verdict = "met" if value >= AT_LEAST else "missed"
    return [
        Sheet(("command", "us", "/ ours"), costs),
        Sheet(("target", "measured", "limit", "verdict"), [("copy / ours", f"{value:.2f}", f"{AT_LEAST}", verdict)]),
    ]


if __name__ == "__main__":
    main()
