"""Datasets that a test may damage, and loaders of the tiny dataset."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_DTYPE, INDEX_FILE, MANIFEST_FILE, Manifest

EditManifest = Callable[[Callable[[dict[str, Any]], object]], None]


@pytest.fixture
def dataset(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A copy of the tiny dataset for one test."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "dataset"))


@pytest.fixture
def edit_manifest(dataset: Path) -> EditManifest:
    """Changes the fields of the copy's manifest in place."""

    def edit(change: Callable[[dict[str, Any]], object]) -> None:
        fields = json.loads((dataset / MANIFEST_FILE).read_text())
        change(fields)
        (dataset / MANIFEST_FILE).write_text(json.dumps(fields))

    return edit


@pytest.fixture
def edit_names(dataset: Path) -> Callable[[list[str]], None]:
    """Gives the identities of the copy other names."""

    def edit(names: list[str]) -> None:
        (dataset / IDENTITIES_FILE).write_text("".join(f"{name}\n" for name in names))

    return edit


@pytest.fixture
def overwrite(dataset: Path) -> Callable[[int, bytes], None]:
    """Writes bytes over the beginning of one sample's image in the copy; the shard keeps its length."""
    index = np.fromfile(dataset / INDEX_FILE, INDEX_DTYPE)
    shards = Manifest.load(dataset).shards

    def write(sample_id: int, data: bytes) -> None:
        row = index[sample_id]
        assert len(data) <= row["size"]
        with (dataset / shards[row["shard"]].name).open("r+b") as file:
            file.seek(int(row["offset"]))
            file.write(data)

    return write
