"""`check`: is a dataset what its manifest says, and can every image be decoded?"""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.audit.check_shard import ShardReport, ShardToCheck, check_shard
from data_prep.pool import run_tasks
from data_prep.progress import progress, say, show_table
from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_DTYPE, INDEX_FILE, MANIFEST_FILE, PAIRS_FILE, Manifest

MAX_FINDINGS = 100

Index = NDArray[np.void]


def check(folder: Path, *, workers: int) -> int:
    """Print what a dataset holds and what is wrong with it.

    Args:
        folder: of the dataset or verification set.
        workers: processes.

    Returns:
        Exit code: 0, or 1 if something is wrong.

    Raises:
        DataError: there is no manifest.
    """
    manifest = Manifest.load(folder)
    report = ShardReport()
    index = _check_index(report, folder, manifest)
    _check_names(report, folder, manifest)
    num_pairs = _check_pairs(report, folder, index) if (folder / PAIRS_FILE).exists() else None
    findings, more, sizes = list(report.findings), report.more, Counter[tuple[int, int]]()
    tasks = _tasks(folder, manifest, index)
    with progress(f"checking {folder}", manifest.num_samples) as show:
        for of_shard in run_tasks(check_shard, tasks, workers, show):
            findings += of_shard.findings
            more += of_shard.more
            sizes += of_shard.sizes
    show_table(str(folder), ("what", "how many"), _summary(manifest, index, num_pairs, sizes))
    if not findings:
        say(f"{folder}: nothing wrong")
        return 0
    show_table("findings", ("where", "what"), findings[:MAX_FINDINGS])
    more += len(findings[MAX_FINDINGS:])
    say(f"{folder}: findings: {len(findings[:MAX_FINDINGS]) + more:,}" + (f", {more:,} not shown" if more else ""))
    return 1


def _check_index(report: ShardReport, folder: Path, manifest: Manifest) -> Index | None:
    try:
        data = (folder / INDEX_FILE).read_bytes()
    except OSError as error:
        report.add(INDEX_FILE, f"cannot be read: {error.strerror}")
        return None
    if hashlib.sha256(data).hexdigest() != manifest.index_sha256:
        report.add(INDEX_FILE, "has another sha256 than the manifest says")
    if len(data) != manifest.num_samples * INDEX_DTYPE.itemsize:
        rows = len(data) / INDEX_DTYPE.itemsize
        report.add(INDEX_FILE, f"has {rows:,g} rows, the manifest says {manifest.num_samples:,} samples")
        return None
    index = np.frombuffer(data, dtype=INDEX_DTYPE)
    for column, limit in (("shard", len(manifest.shards)), ("label", manifest.num_classes)):
        wrong = np.flatnonzero((index[column] < 0) | (index[column] >= limit))
        if len(wrong):
            first = index[column][wrong[0]]
            report.add(INDEX_FILE, f"{len(wrong):,} rows have a {column} not in 0 to {limit - 1}, the first {first}")
    return index


def _check_names(report: ShardReport, folder: Path, manifest: Manifest) -> None:
    total = sum(shard.samples for shard in manifest.shards)
    if total != manifest.num_samples:
        report.add(MANIFEST_FILE, f"says {manifest.num_samples:,} samples, its shards {total:,}")
    named = {shard.name for shard in manifest.shards}
    for path in sorted(folder.glob("*.tar")):
        if path.name not in named:
            report.add(path.name, "is not in the manifest")
    try:
        names = (folder / IDENTITIES_FILE).read_text(encoding="utf-8").count("\n")
    except (OSError, UnicodeDecodeError) as error:
        report.add(IDENTITIES_FILE, f"cannot be read: {error}")
        return
    if names != manifest.num_classes:
        report.add(IDENTITIES_FILE, f"has {names:,} names, the manifest says {manifest.num_classes:,} classes")


def _check_pairs(report: ShardReport, folder: Path, index: Index | None) -> int:
    """Number of pairs; notes those that name no sample, or call two identities one."""
    with (folder / PAIRS_FILE).open(newline="", errors="replace") as file:
        rows = list(csv.reader(file))
    if not rows or rows[0] != ["left", "right", "same", "fold"]:
        report.add(PAIRS_FILE, "does not begin with left,right,same,fold")
        return 0
    for line, row in enumerate(rows[1:], 2):
        try:
            left, right, same, _ = (int(field) for field in row)
        except ValueError:
            report.add(f"{PAIRS_FILE} line {line}", f"expected four integers, found {','.join(row)!r}")
            continue
        if index is None:
            continue
        if not (0 <= left < len(index) and 0 <= right < len(index)):
            report.add(f"{PAIRS_FILE} line {line}", f"names sample {max(left, right)} of {len(index)}, from 0")
        elif same != int(index["label"][left] == index["label"][right]):
            report.add(f"{PAIRS_FILE} line {line}", f"says same = {same}, the labels of {left} and {right} otherwise")
    return len(rows) - 1


def _tasks(folder: Path, manifest: Manifest, index: Index | None) -> list[ShardToCheck]:
    if index is None:
        return [ShardToCheck(folder, shard, None, manifest.num_classes) for shard in manifest.shards]
    by_shard = index[np.argsort(index["shard"], kind="stable")]
    borders = np.searchsorted(by_shard["shard"], np.arange(len(manifest.shards) + 1))
    return [
        ShardToCheck(folder, shard, by_shard[borders[number] : borders[number + 1]], manifest.num_classes)
        for number, shard in enumerate(manifest.shards)
    ]


def _summary(
    manifest: Manifest, index: Index | None, num_pairs: int | None, sizes: Counter[tuple[int, int]]
) -> list[tuple[str, str]]:
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    rows = [
        ("images", f"{manifest.num_samples:,}"),
        ("identities", f"{manifest.num_classes:,}"),
        ("shards", f"{len(manifest.shards):,}, {megabytes:,.1f} MB, {'shuffled' if manifest.shuffled else 'in order'}"),
    ]
    if index is not None and len(index):
        labels, counts = np.unique(index["label"], return_counts=True)
        least, median, most = counts.min(), np.median(counts), counts.max()
        rows.append(("images of an identity", f"{least} to {most:,}, median {median:g}"))
        rows.append(("identities without image", f"{manifest.num_classes - len(labels):,}"))
    shown = ", ".join(f"{width} x {height}: {count:,}" for (height, width), count in sizes.most_common(3))
    rows.append(("sizes of images", shown + (f", {len(sizes) - 3} more" if len(sizes) > 3 else "")))
    if num_pairs is not None:
        rows.append(("pairs", f"{num_pairs:,}"))
    return rows
