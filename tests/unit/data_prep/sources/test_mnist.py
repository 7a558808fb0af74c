"""`mnist`: digits from IDX files."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from lightning_face.data.manifest import Manifest
from lightning_face.data.shards import Shards

COUNTS = {"train": 45, "t10k": 20}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def digits(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of a few grey levels, every label several times."""
    count = COUNTS[name]
    noise = np.random.default_rng(count).integers(0, 256, (count, 7, 7), dtype=np.uint8)
    return noise.repeat(4, axis=1).repeat(4, axis=2), (np.arange(count) * 7 % 10).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The training files gzipped, the others plain."""
    (tmp_path / "idx").mkdir()
    for name in COUNTS:
        for array, suffix in zip(digits(name), ("images-idx3-ubyte", "labels-idx1-ubyte"), strict=True):
            data = idx(array)
            zipped = name == "train"
            file = f"{name}-{suffix}.gz" if zipped else f"{name}-{suffix}"
            (tmp_path / "idx" / file).write_bytes(gzip.compress(data) if zipped else data)
    return tmp_path / "idx"


@pytest.mark.parametrize("workers", [0, 2])
def test_both_sets_are_made(folder: Path, tmp_path: Path, run: Callable, workers: int) -> None:
    out = tmp_path / "out"
    assert run("mnist", folder, out, "--workers", workers, "--shard-samples", 16).code == 0
    assert [Manifest.load(out / name).shuffled for name in ("train", "test")] == [True, False]
    images, labels = digits("t10k")
    test = Shards(out / "test")
    assert test.identities() == [f"digit_{digit}" for digit in range(10)]
    assert test.labels(np.arange(20)).tolist() == labels.tolist()
    stored = test.read(range(20))
    assert {simplejpeg.decode_jpeg_header(data)[2] for data in stored} == {"Gray"}
    decoded = np.stack([simplejpeg.decode_jpeg(data, colorspace="GRAY")[:, :, 0] for data in stored])
    assert np.abs(decoded.astype(int) - images).max() <= 2
    train = Shards(out / "train")
    assert sorted(train.labels(np.arange(45)).tolist()) == sorted(digits("train")[1].tolist())
    assert run("check", out / "test", "--workers", 0).code == 0


@pytest.mark.parametrize(
    ("file", "data", "expected"),
    [
        ("t10k-images-idx3-ubyte", None, "has no t10k-images-idx3-ubyte, nor t10k-images-idx3-ubyte.gz"),
        ("t10k-images-idx3-ubyte", b"", "is no IDX file of bytes in 3 dimension"),
        ("t10k-images-idx3-ubyte", idx(digits("t10k")[1]), "is no IDX file of bytes in 3 dimension"),
        ("t10k-images-idx3-ubyte", idx(digits("t10k")[0])[:-1], "or damaged (magic number 2051, lengths [20, 28, 28]"),
        ("t10k-labels-idx1-ubyte", idx(digits("train")[1]), "they belong to different sets"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(idx(digits("train")[1]))[:-9], "cannot read"),
    ],
    ids=[
        "missing",
        "empty",
        "other dimensions",
        "cut short",
        "other set",
        "gzip cut short",
    ],  # bytes would be the names
)
def test_something_else(
    folder: Path, tmp_path: Path, fails: Callable, file: str, data: bytes | None, expected: str
) -> None:
    (folder / file).unlink() if data is None else (folder / file).write_bytes(data)
    assert expected in fails("mnist", folder, tmp_path / "out", "--workers", 0)
