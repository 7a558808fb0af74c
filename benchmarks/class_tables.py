"""Cost of the class tables: time, bytes exchanged, memory, over the number of classes and of ranks.

Runs each term of the objective on real ranks (gloo on the CPU, NCCL on GPUs), in turns with one dense
`linear` + `cross_entropy` step, forward and backward, by one process with all cores, and with what other libraries do.
Prints tables and leaves class_tables.json, .md and .png in the output folder.
"""

import argparse
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import torch

from benchmarks.cases import ARCFACE, CLASSIFIER, DENSE, DENSE_CENTERS, OWN, PEERS, SAMPLED, Setting
from benchmarks.laws import laws, targets
from benchmarks.measuring import Measurement, measure, start_ranks
from benchmarks.report import LEGEND, plot, sheets, write_json
from benchmarks.sheets import markdown
from lightning_face.optim.rows import RowOptimizerConfig
from lightning_face.tables.memory import bytes_per_class, free_bytes

_MEMORY_SHARE = 0.7  # of what is free, which others want too
_ALL_ROUNDS_UP_TO = 100_000  # classes; a step with more takes long enough to be timed by itself


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    options = _parser().parse_args(arguments)
    measurements = list(_measurements(options))
    if not measurements:
        raise SystemExit("nothing was measured: no size fits into memory; give fewer --classes")
    growth, promises = laws(measurements), targets(measurements)
    report = markdown(sheets(measurements, growth, promises), LEGEND)
    print(report)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "class_tables.json", _machine(options), measurements, growth, promises)
    (options.out / "class_tables.md").write_text(report)
    plot(options.out / "class_tables.png", measurements)
    print(f"{options.out}/class_tables.json, .md, .png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.class_tables", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--classes", type=int, nargs="+", default=[10_000, 100_000], metavar="C", help="default: 10000 100000"
    )
    parser.add_argument("--ranks", type=int, nargs="+", metavar="W", help="default: 1 2 on the CPU, 1 on a GPU")
    parser.add_argument("--batch", type=int, default=256, metavar="G", help="samples of all ranks (default: 256)")
    parser.add_argument("--dim", type=int, default=512, metavar="D", help="of the embedding (default: 512)")
    parser.add_argument(
        "--repeats", type=int, default=7, help="timed rounds; fewer, but two, above 100,000 classes (default: 7)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="each rank takes a GPU of its own")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder (default: runs/benchmarks)")
    return parser


def _measurements(options: argparse.Namespace) -> Iterator[Measurement]:
    every_ranks = sorted(set(options.ranks or ([1, 2] if options.device == "cpu" else [1])))
    cores = torch.get_num_threads()
    for num_ranks in every_ranks:
        if options.batch % num_ranks:
            raise SystemExit(f"--batch {options.batch} must be a multiple of --ranks {num_ranks}")
    threads = max(1, cores // every_ranks[-1])
    with start_ranks(every_ranks[-1]) as pool:
        for num_classes, num_ranks in product(sorted(set(options.classes)), every_ranks):
            setting = Setting(num_classes, num_ranks, options.batch, options.dim, options.device, threads, cores)
            is_last = num_ranks == every_ranks[-1]
            size = f"C = {num_classes:,}, W = {num_ranks}"
            repeats = min(options.repeats, max(2, options.repeats * _ALL_ROUNDS_UP_TO // num_classes))
            for number, names in enumerate(_groups(setting, OWN + (PEERS if is_last else (DENSE,)), size)):
                print(f"{size}: {', '.join(names)} ...", flush=True)
                measured = measure(pool, setting, names, repeats)
                yield from (m for m in measured if m.name != DENSE or (is_last and number == 0))


def _groups(setting: Setting, names: tuple[str, ...], size: str) -> list[list[str]]:
    """Cases that fit into memory together, each group with the dense softmax if it fits beside all own cases."""
    left = _MEMORY_SHARE * free_bytes(torch.device(setting.device))
    needed = _needed_bytes(setting)
    beside = [DENSE] if needed[DENSE] + max(needed[name] for name in OWN) <= left else []
    room_beside = left - sum(needed[name] for name in beside)
    groups: list[list[str]] = []
    room = 0.0
    for name in names:
        if name in beside:
            continue
        if name == DENSE or needed[name] > room_beside:
            print(f"{size}: {name} left out: {needed[name] / 1e9:.1f} GB are too many beside the others")
            continue
        if needed[name] > room:
            groups.append([*beside])
            room = room_beside
        groups[-1].append(name)
        room -= needed[name]
    return groups


def _needed_bytes(setting: Setting) -> dict[str, int]:
    """What each case takes, on all ranks together."""
    table, logits = 4 * setting.num_classes * setting.dim, 4 * setting.num_classes * setting.batch
    classifier = setting.num_classes * bytes_per_class(setting.dim, RowOptimizerConfig())
    return {
        **dict.fromkeys(OWN, table),
        CLASSIFIER: classifier,
        SAMPLED: classifier,
        DENSE: 2 * table + 3 * logits,
        DENSE_CENTERS: 3 * table,
        ARCFACE: 3 * table + 10 * logits,
    }


def _machine(options: argparse.Namespace) -> dict[str, object]:
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    facts = {"device": name, "cores": torch.get_num_threads(), "torch": torch.__version__}
    given = {name: value for name, value in vars(options).items() if name != "out"}
    return {**facts, "options": given, "date": datetime.now(UTC).isoformat(timespec="seconds")}


if __name__ == "__main__":
    main()
