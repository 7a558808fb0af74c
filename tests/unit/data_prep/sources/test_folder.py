"""`folder`: images in one folder per identity become a dataset."""

import csv
import gc
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_face.data.manifest import INDEX_DTYPE, Manifest

Contents = Callable[[Path], dict[str, bytes]]


def read_tars(folder: Path) -> dict[str, bytes]:
    members = {}
    for shard in Manifest.load(folder).shards:
        with tarfile.open(folder / shard.name) as tar:
            for info in tar:
                file = tar.extractfile(info)
                assert file is not None
                members[info.name] = file.read()
    return members


def read_rejected(folder: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO((folder / "rejected.csv").read_text())))


def test_images_are_copied_under_their_numbers_with_labels(faces: Path, tmp_path: Path, run: Callable) -> None:
    code, out, err = run("folder", faces, tmp_path / "out", "--shard-samples", 4, "--workers", 0)
    assert (code, err) == (0, "")
    assert out == f"{tmp_path / 'out'}: 10 images of 3 identities in 3 shards, 0.0 MB\n"
    assert (tmp_path / "out" / "identities.txt").read_text() == "Al\nBo\nCy\n"
    sources = sorted(faces.glob("*/*.jpg"))
    labels = [["Al", "Bo", "Cy"].index(path.parent.name) for path in sources]
    expected = {f"{number:09d}.jpg": path.read_bytes() for number, path in enumerate(sources)}
    expected |= {f"{number:09d}.cls": str(label).encode() for number, label in enumerate(labels)}
    assert read_tars(tmp_path / "out") == expected
    assert read_rejected(tmp_path / "out") == [["source", "reason"]]


def test_index_points_at_the_images(faces: Path, tmp_path: Path, run: Callable) -> None:
    run("folder", faces, tmp_path / "out", "--shard-samples", 4, "--workers", 0)
    manifest = Manifest.load(tmp_path / "out")
    index = np.fromfile(tmp_path / "out" / "index.bin", dtype=INDEX_DTYPE)
    assert [shard.samples for shard in manifest.shards] == [4, 3, 3]
    assert index["shard"].tolist() == [0] * 4 + [1] * 3 + [2] * 3
    found = set()
    for row in index:
        data = (tmp_path / "out" / manifest.shards[row["shard"]].name).read_bytes()
        found.add((int(row["label"]), data[row["offset"] : row["offset"] + row["size"]]))
    assert found == {(["Al", "Bo", "Cy"].index(path.parent.name), path.read_bytes()) for path in faces.glob("*/*")}
    assert manifest.shuffled and manifest.num_samples == 10 and manifest.num_classes == 3


# webdataset leaves the tars that it has read to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_plain_webdataset_pipeline_reads_it(faces: Path, tmp_path: Path, run: Callable) -> None:
    webdataset = pytest.importorskip("webdataset")
    run("folder", faces, tmp_path / "out", "--shard-samples", 4, "--workers", 0, "--size", 16)
    shards = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    pipeline = webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg", "cls")
    read = [(image.size, image.mode, label) for image, label in pipeline]
    assert [label for _, _, label in read] == np.fromfile(tmp_path / "out" / "index.bin", INDEX_DTYPE)["label"].tolist()
    assert {(size, mode) for size, mode, _ in read} == {((16, 16), "RGB")}
    del pipeline
    gc.collect()


def test_samples_are_shuffled_by_the_seed(make_faces: Callable, tmp_path: Path, run: Callable) -> None:
    faces = make_faces({"Al": 10, "Bo": 10})
    orders = []
    for seed in (0, 1):
        run("folder", faces, tmp_path / str(seed), "--seed", seed, "--workers", 0)
        orders.append(np.fromfile(tmp_path / str(seed) / "index.bin", INDEX_DTYPE)["label"].tolist())
    assert orders[0] != orders[1]
    assert all(order != sorted(order) and sum(order) == 10 for order in orders)


def test_unreadable_images_are_left_out_and_listed(faces: Path, tmp_path: Path, run: Callable) -> None:
    whole = (faces / "Bo" / "Bo_0002.jpg").read_bytes()
    (faces / "Bo" / "Bo_0002.jpg").write_bytes(whole[: len(whole) // 2])
    (faces / "Al" / "Al_0001.jpg").write_bytes(b"")
    (faces / "Al" / "Al_0002.jpg").unlink()
    (faces / "Al" / "Al_0002.jpg").symlink_to("nowhere")
    code, out, _ = run("folder", faces, tmp_path / "out", "--workers", 0)
    assert code == 0
    assert f"left out 2 of 9 images; the reasons are in {tmp_path / 'out' / 'rejected.csv'}\n" in out
    header, empty, damaged = read_rejected(tmp_path / "out")
    assert header == ["source", "reason"]
    assert empty == ["Al/Al_0001.jpg", "empty file"]
    assert damaged[0] == "Bo/Bo_0002.jpg" and damaged[1].startswith("damaged JPEG: ")
    assert "000000000.jpg" not in read_tars(tmp_path / "out")


def test_one_readable_image(faces: Path, tmp_path: Path, run: Callable) -> None:
    for path in sorted(faces.glob("*/*"))[:-1]:
        path.write_bytes(b"no image")
    assert run("folder", faces, tmp_path / "out", "--workers", 0, "--shard-samples", 2).code == 0
    manifest = Manifest.load(tmp_path / "out")
    assert len(manifest.shards) == 1 and manifest.num_samples == 1 and manifest.num_classes == 1
    assert (tmp_path / "out" / "identities.txt").read_text() == "Cy\n"
    assert run("check", tmp_path / "out", "--workers", 0).code == 0


def test_min_images(faces: Path, tmp_path: Path, run: Callable, fails: Callable) -> None:
    run("folder", faces, tmp_path / "out", "--workers", 0, "--min-images", 4)
    assert (tmp_path / "out" / "identities.txt").read_text() == "Al\nBo\n"
    assert ["Cy/Cy_0001.jpg", "identity with fewer than 4 images: 1 left"] in read_rejected(tmp_path / "out")
    assert "none of the 10 images is left" in fails("folder", faces, tmp_path / "other", "--min-images", 6)


def test_other_files_and_hidden_ones_are_ignored(faces: Path, tmp_path: Path, run: Callable, encode: Callable) -> None:
    (faces / "Al" / "Thumbs.db").write_bytes(b"")
    (faces / "Al" / "._Al_0001.jpg").write_bytes(b"")
    (faces / ".git").mkdir()
    (faces / "README.txt").write_text("")
    (faces / "None").mkdir()
    (faces / "Cy" / "scan.PNG").write_bytes(encode(format="PNG"))
    out = run("folder", faces, tmp_path / "out", "--workers", 0).out
    assert f"{faces}: files ignored, since their names do not end like those of images: 1\n" in out
    assert "11 images of 3 identities" in out


def test_names_in_other_alphabets(make_faces: Callable, tmp_path: Path, run: Callable) -> None:
    run("folder", make_faces({"Zoë": 1, "李雷": 1, "Ana María": 1}), tmp_path / "out", "--workers", 0)
    assert (tmp_path / "out" / "identities.txt").read_text(encoding="utf-8") == "Ana María\nZoë\n李雷\n"


def test_a_finished_dataset_says_so(faces: Path, tmp_path: Path, run: Callable, contents: Contents) -> None:
    command = ("folder", faces, tmp_path / "out", "--workers", 0)
    run(*command)
    before = contents(tmp_path / "out")
    code, out, _ = run(*command)
    assert code == 0 and out.startswith(f"finished already: {tmp_path / 'out'}: 10 images")
    assert contents(tmp_path / "out") == before
