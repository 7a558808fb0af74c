"""`synthetic`: generated faces become a training set and a verification set of other identities."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_face.data.manifest import INDEX_DTYPE, Manifest

Contents = Callable[[Path], dict[str, bytes]]
SMALL = ("--identities", 3, "--images", 8, "--held-out", 20, "--pairs", 40, "--size", 32, "--shard-samples", 4)


def identities(folder: Path) -> list[str]:
    return (folder / "identities.txt").read_text().splitlines()


def test_train_and_verify(tmp_path: Path, run: Callable) -> None:
    out = run("synthetic", tmp_path / "out", *SMALL, "--workers", 0).out
    assert "train: 8 images of 3 identities in 2 shards" in out
    assert "verify: 200 images of 20 identities in 50 shards" in out
    train, verify = tmp_path / "out" / "train", tmp_path / "out" / "verify"
    assert not set(identities(train)) & set(identities(verify))
    assert Manifest.load(train).shuffled and not Manifest.load(verify).shuffled
    labels = np.fromfile(verify / "index.bin", INDEX_DTYPE)["label"]
    rows = np.loadtxt(verify / "pairs.csv", delimiter=",", skiprows=1, dtype=int)
    assert len(rows) == 40 and rows[:, 2].sum() == 20
    assert ((labels[rows[:, 0]] == labels[rows[:, 1]]) == rows[:, 2]).all()
    for folder in (train, verify):
        assert run("check", folder, "--workers", 0).code == 0


def test_known_people_have_equally_many_further_images(tmp_path: Path, run: Callable) -> None:
    out = run("synthetic", tmp_path / "out", *SMALL, "--workers", 0, "--held-out", 0, "--known", 2).out
    assert "known: 6 images of 3 identities" in out
    train, known = tmp_path / "out" / "train", tmp_path / "out" / "known"
    assert identities(known) == identities(train)
    assert np.fromfile(known / "index.bin", INDEX_DTYPE)["label"].tolist() == [0, 0, 1, 1, 2, 2]
    pictures = [{member for name, member in tar_members(folder) if name.endswith(".jpg")} for folder in (train, known)]
    assert len(pictures[0]) == 8 and len(pictures[1]) == 6 and not pictures[0] & pictures[1]


def tar_members(folder: Path) -> list[tuple[str, bytes]]:
    members = []
    for shard in folder.glob("*.tar"):
        with tarfile.open(shard) as tar:
            members += [(member.name, tar.extractfile(member).read()) for member in tar if member.isfile()]
    return members


def test_bytes_do_not_depend_on_workers(tmp_path: Path, run: Callable, contents: Contents) -> None:
    for workers in (0, 2):
        run("synthetic", tmp_path / str(workers), *SMALL, "--workers", workers, "--held-out", 0)
    assert contents(tmp_path / "0" / "train") == contents(tmp_path / "2" / "train")
    assert not (tmp_path / "0" / "verify").exists()


def test_few_pictures_reused(tmp_path: Path, run: Callable) -> None:
    run("synthetic", tmp_path / "out", *SMALL, "--workers", 0, "--held-out", 0, "--reuse", 2)
    index = np.fromfile(tmp_path / "out" / "train" / "index.bin", INDEX_DTYPE)
    assert len(index) == 8 and len(set(index["size"].tolist())) <= 2


def test_started_again(tmp_path: Path, run: Callable, fails: Callable) -> None:
    run("synthetic", tmp_path / "out", *SMALL, "--workers", 0)
    assert run("synthetic", tmp_path / "out", *SMALL, "--workers", 0).out.count("finished already") == 2
    assert "--seed was 0, now 1" in fails("synthetic", tmp_path / "out", *SMALL, "--seed", 1)
    assert "--pairs was 40, now 20" in fails("synthetic", tmp_path / "out", *SMALL, "--pairs", 20)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--identities", 5, "--images", 9), "--images 9 is less than two for each of --identities 5"),
        (("--held-out", 1), "--held-out 1 leaves no pairs of different identities"),
    ],
)
def test_counts_that_do_not_fit(tmp_path: Path, fails: Callable, options: tuple, expected: str) -> None:
    assert expected in fails("synthetic", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_out_cannot_be_written(tmp_path: Path, fails: Callable) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in fails("synthetic", tmp_path / "file", *SMALL, "--workers", 0)
