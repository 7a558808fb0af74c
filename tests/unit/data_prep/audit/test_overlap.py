"""What a training set shares with the sets that test it."""

import csv
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_prep.audit import image_hashes, near_pairs
from data_prep.sources.identity_names import without_spelling
from tests.disk import full_disk

Prepare = Callable[[str, dict[str, list[Image.Image | bytes]]], Path]


def picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((112, 112), Image.Resampling.BICUBIC)


@pytest.fixture
def prepare(tmp_path: Path, run: Callable) -> Prepare:
    """Makes a dataset of pictures by name; bytes are written as they are."""

    def call(dataset: str, people: dict[str, list[Image.Image | bytes]]) -> Path:
        for name, images in people.items():
            (tmp_path / f"{dataset}_images" / name).mkdir(parents=True)
            for number, image in enumerate(images):
                path = tmp_path / f"{dataset}_images" / name / f"{number}.jpg"
                if isinstance(image, bytes):
                    path.write_bytes(image)
                else:
                    image.save(path, quality=90)
        command = ("folder", tmp_path / f"{dataset}_images", tmp_path / dataset, "--workers", 0, "--shard-samples", 2)
        assert run(*command).code == 0
        return tmp_path / dataset

    return call


@pytest.fixture
def train(prepare: Prepare) -> Path:
    people = {"Al_Bo": [0, 1], "Cy": [2, 3], "Di": [4], "Ed": [5, 6], "0007": [7]}
    return prepare("train", {name: [picture(seed) for seed in seeds] for name, seeds in people.items()})


@pytest.fixture
def evaluation(prepare: Prepare, train: Path) -> Path:
    """Shares a name, a file of Cy, a smaller copy of Di's; and the number 0007, which is nobody's name."""
    file = (train.parent / "train_images" / "Cy" / "1.jpg").read_bytes()
    people = {"al bó": [picture(10)], "Another": [file], "Third": [picture(4).resize((90, 90))], "0007": [picture(11)]}
    return prepare("evaluation", people)


def test_every_kind(train: Path, evaluation: Path, prepare: Prepare, tmp_path: Path, run: Callable) -> None:
    apart = prepare("apart", {"Xi": [picture(20)], "0008": [picture(21)]})
    outcomes = [
        run("overlap", train, evaluation, apart, "--out", tmp_path / f"{workers}", "--workers", workers)
        for workers in (0, 2)
    ]
    code, out, err = outcomes[0]
    assert code == 1 and err == "" and outcomes[1].out == out.replace(f"{tmp_path}/0/", f"{tmp_path}/2/")
    assert out.splitlines() == [
        f"{evaluation}: names that {train} has too: 1 of 4",
        f"{evaluation}: images with the bytes of one of {train}: 1 of 4",
        f"{evaluation}: other images that look like one of {train}, 2 of 64 bits or fewer: 1 of 4",
        f"{apart}: names that {train} has too: 0 of 2",
        f"{apart}: images with the bytes of one of {train}: 0 of 2",
        f"{apart}: other images that look like one of {train}, 2 of 64 bits or fewer: 0 of 2",
        f"{tmp_path}/0/names.txt, for --exclude: 3 people of {train}, 5 images",
    ]
    for name in ("names.txt", "images.csv"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    with (tmp_path / "0" / "images.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["train_identity"])
    assert [(row["train_identity"], row["identity"], row["bytes"]) for row in rows] == [
        ("Cy", "Another", "same"),
        ("Di", "Third", "other"),
    ]
    assert {row["evaluation"] for row in rows} == {str(evaluation)} and int(rows[1]["bits"]) <= 2
    shard, key = rows[0]["train_image"].split("/")
    number = sorted((tmp_path / "train_images").glob("*/*")).index(tmp_path / "train_images" / "Cy" / "1.jpg")
    assert (train / shard).is_file() and key == f"{number:09d}.jpg"


def test_made_again_without_them_nothing_is_shared(
    train: Path, evaluation: Path, tmp_path: Path, run: Callable
) -> None:
    run("overlap", train, evaluation, "--out", tmp_path / "shared", "--workers", 0)
    images, names = tmp_path / "train_images", tmp_path / "shared" / "names.txt"
    assert run("folder", images, tmp_path / "again", "--exclude", names, "--workers", 0).code == 0
    assert (tmp_path / "again" / "identities.txt").read_text() == "0007\nEd\n"
    code, out, _ = run("overlap", tmp_path / "again", evaluation, "--out", tmp_path / "none", "--workers", 0)
    assert code == 0 and "for --exclude: 0 people" in out and (tmp_path / "none" / "names.txt").read_bytes() == b""


def test_started_again_it_takes_the_hashes_that_are_there(
    train: Path, evaluation: Path, tmp_path: Path, run: Callable, fails: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in its last shard, by an error where another run would be killed."""
    command = ("overlap", train, evaluation, "--workers", 0, "--out")
    assert run(*command, tmp_path / "whole").code == 1
    hash_one, left = image_hashes.perceptual_hash, iter(range(11))

    def fail_at_the_twelfth(image: bytes) -> int:
        if next(left, None) is None:
            raise OSError(5, "Input/output error")
        return hash_one(image)

    with monkeypatch.context() as patch:
        patch.setattr(image_hashes, "perceptual_hash", fail_at_the_twelfth)
        assert "shard-000001.tar: Input/output error" in fails(*command, tmp_path / "again")
    out = run(*command, tmp_path / "again").out
    assert f"{train}: 4 of 4 shards are hashed already" in out and f"{evaluation}: 1 of 2 shards" in out
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["images.csv", "names.txt"]
    for name in ("names.txt", "images.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_damaged_images_are_compared_by_their_bytes(train: Path, run: Callable) -> None:
    shard = train / "shard-000000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[:600] + bytes(1000) + data[1600:])
    code, out, _ = run("overlap", train, train, "--workers", 0)
    assert code == 1 and out.count("compared by their bytes alone: 1\n") == 2
    assert f"{train}: images with the bytes of one of {train}: 8 of 8\n" in out


def test_what_is_no_dataset(train: Path, tmp_path: Path, fails: Callable) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for other in (tmp_path / "missing", tmp_path / "loop", tmp_path, tmp_path / ("x" * 300)):
        assert str(other) in fails("overlap", train, other) and str(other) in fails("overlap", other, train)
    assert "required: EVAL" in fails("overlap", train)
    assert "cannot write" in fails("overlap", train, train, "--workers", 0, "--out", train / "index.bin")
    with full_disk(10):
        out = tmp_path / "full"
        assert "File too large" in fails("overlap", train, train, "--workers", 0, "--out", out)
    assert not [path for path in out.rglob("*") if path.is_file()]
    (train / "identities.txt").write_bytes(b"\xff\n" * 5)
    assert f"the names of {train} cannot be read: 'utf-8'" in fails("overlap", train, train)
    os.truncate(train / "shard-000000.tar", 100)
    assert "shard-000000.tar has 100 bytes" in fails("overlap", train, train)


@pytest.mark.parametrize(
    ("one", "other"),
    [("George_W_Bush", "George W  bush"), ("Zoë", "ZOE\u0308"), ("Ñ", "n"), ("Straße", "STRASSE"), ("李 雷", "李_雷")],
)
def test_spellings_of_a_name(one: str, other: str) -> None:
    assert without_spelling(one) == without_spelling(other) != ""


@pytest.mark.parametrize(("one", "other"), [("Al Bo", "AlBo"), ("m.01", "m.02"), ("कि", "कु"), ("が", "か")])
def test_other_names(one: str, other: str) -> None:
    assert without_spelling(one) != without_spelling(other)
    assert without_spelling(" 0012_") == ""


few_bits = st.sets(st.integers(0, 63), max_size=3).map(lambda bits: sum(1 << bit for bit in bits))
hashes = st.lists(st.tuples(st.sampled_from([0, 2**64 - 1, 0x5555555555555555]), few_bits), max_size=30)


@given(left=hashes, right=hashes, bits=st.integers(0, 8), at_once=st.integers(1, 5))
def test_banding_equals_all_pairs(left: list, right: list, bits: int, at_once: int) -> None:
    left, right = ([base ^ flipped for base, flipped in column] for column in (left, right))
    expected = [
        (first, second, (one ^ other).bit_count())
        for (first, one), (second, other) in product(enumerate(left), enumerate(right))
        if (one ^ other).bit_count() <= bits
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pairs, "_PAIRS_AT_ONCE", at_once)
        patch.setattr(near_pairs, "_LEFT_AT_ONCE", 2 * at_once)
        columns = near_pairs.near_pairs(np.array(left, np.uint64), np.array(right, np.uint64), bits)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
