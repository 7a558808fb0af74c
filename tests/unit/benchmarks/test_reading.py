"""The benchmark of reading at a tiny size, end to end, and its arithmetic."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import reading
from benchmarks.opening import ORDERS, Opening, make_large
from benchmarks.readers import DECODING, IMAGE_FOLDER, OURS, WEBDATASET, make_readers, unpack
from benchmarks.reading import cpu_seconds_per_image, main, opening_targets, reading_targets
from lightning_face.data.shards import Shards

# WebDataset leaves its tars to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def test_measures_prints_and_leaves_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "_MEMORY_WORKERS", 1)
    monkeypatch.setattr(reading, "_PICTURES", 2)
    sizes = ["--images", "100", "--batch", "4", "--rounds", "1", "--samples", "200", "--classes", "50"]
    main([*sizes, "--workers", "0", "--out", str(tmp_path)])
    content = json.loads((tmp_path / "reading.json").read_text())
    assert set(content["cpu_seconds_per_image"]["0"]) == {OURS, DECODING, WEBDATASET, IMAGE_FOLDER}
    assert [(o["num_samples"], o["num_classes"]) for o in content["openings"]] == [(100, 50), (200, 50)] * len(ORDERS)
    assert all(o["first_batch_s"] > 0 and o["bytes"] > 0 for o in content["openings"])
    assert len(content["targets"]) == 3 + 2 * len(ORDERS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reading.json", "reading.md"]
    assert (tmp_path / "reading.md").read_text() in capsys.readouterr().out


def test_every_reader_reads_every_image_it_should(tiny_dataset: Path, tmp_path: Path) -> None:
    unpack(tiny_dataset, tmp_path / "images")
    counts = {name: reader() for name, reader in make_readers(tiny_dataset, tmp_path / "images", 10, 0).items()}
    assert counts == {OURS: 200, DECODING: 202, WEBDATASET: 202, IMAGE_FOLDER: 202}


def test_time_of_children_counts() -> None:
    def in_child() -> int:
        if (child := os.fork()) == 0:
            while sum(os.times()[:2]) < 0.2:
                pass
            os._exit(0)
        os.waitpid(child, 0)
        return 2

    assert cpu_seconds_per_image(in_child) >= 0.09


def test_ratios_are_of_the_same_round_and_targets_know_their_side() -> None:
    costs = {
        0: {OURS: [1.0, 2.0, 9.0], DECODING: [0.9, 2.0, 4.5], WEBDATASET: [2.0, 3.0, 27.0], IMAGE_FOLDER: [3.0] * 3}
    }
    targets = reading_targets(costs)
    assert [target.value for target in targets] == [0.9, 2.0, 1.5]
    assert [target.is_met for target in targets] == [True, True, False]
    small, large = Opening("lanes", 10, 5, 8, 0.1, 100_000_000), Opening("lanes", 1000, 500, 8, 10.5, 600_000_000)
    assert [(target.value, target.is_met) for target in opening_targets([small, large])] == [(500, True), (10.5, False)]


def test_large_dataset_holds_the_images_of_the_small_one(tiny_dataset: Path, tmp_path: Path) -> None:
    small = Path(tmp_path, "small")
    small.mkdir()
    for path in tiny_dataset.iterdir():
        (small / path.name).write_bytes(path.read_bytes())
    make_large(small, tmp_path / "large", 606, 100)
    shards = Shards(tmp_path / "large")
    assert len(shards.manifest.shards) == 9
    assert shards.read([3, 205, 407, 605]) == Shards(small).read([3, 3, 3, 201])
    assert np.bincount(shards.index["label"]).tolist() == [7] * 6 + [6] * 94
