"""Random access to the tars, and what is refused when they are opened."""

import gc
import hashlib
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from lightning_face.data.manifest import INDEX_DTYPE, INDEX_FILE, MANIFEST_FILE, Manifest
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError

EditManifest = Callable[[Callable[[dict[str, Any]], object]], None]


def tar_members(folder: Path, suffix: str) -> list[bytes]:
    """The members of all shards in the order of the manifest, read by the standard library."""
    members = []
    for shard in Manifest.load(folder).shards:
        with tarfile.open(folder / shard.name) as tar:
            members += [tar.extractfile(member).read() for member in tar if member.name.endswith(suffix)]
    return members


def test_reads_what_tarfile_reads(tiny_dataset: Path) -> None:
    shards = Shards(tiny_dataset)
    assert shards.read(range(202)) == tar_members(tiny_dataset, ".jpg")
    assert shards.labels(np.arange(202)).tolist() == [int(text) for text in tar_members(tiny_dataset, ".cls")]


def test_reads_in_the_order_asked_for(tiny_dataset: Path) -> None:
    shards = Shards(tiny_dataset)
    assert shards.read([150, 3, 150]) == [shards.read([number])[0] for number in (150, 3, 150)]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves shards to the collector
def test_a_plain_webdataset_pipeline_reads_the_same_samples(tiny_dataset: Path) -> None:
    shards = Shards(tiny_dataset)
    urls = [str(tiny_dataset / shard.name) for shard in shards.manifest.shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    gc.collect()
    assert [sample["jpg"] for sample in samples] == shards.read(range(202))
    assert [int(sample["cls"]) for sample in samples] == shards.labels(np.arange(202)).tolist()
    assert len({sample["__key__"] for sample in samples}) == 202


def test_identities_are_named_by_label(tiny_dataset: Path) -> None:
    shards = Shards(tiny_dataset)
    assert shards.identities() == [f"person_{number:02d}" for number in range(20)]
    assert shards.manifest.num_classes == 20


def test_pickles_small_and_reads_again(tiny_dataset: Path) -> None:
    """As a worker process gets it: no open file and no index travels."""
    shards = Shards(tiny_dataset)
    expected = shards.read([0, 201])
    pickled = pickle.dumps(shards)
    assert len(pickled) < 2000
    assert pickle.loads(pickled).read([0, 201]) == expected


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        Shards(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def first_shard(folder: Path) -> Path:
    return folder / Manifest.load(folder).shards[0].name


def test_missing_shard_is_refused(dataset: Path) -> None:
    first_shard(dataset).unlink()
    assert f"shard {first_shard(dataset)} is missing" in refusal(dataset)


@pytest.mark.parametrize("length", [0, 512, -1])
def test_empty_or_truncated_shard_is_refused(dataset: Path, length: int) -> None:
    shard = first_shard(dataset)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:length])
    expected = f"shard {shard} has {len(whole[:length])} bytes, its manifest says {len(whole)}"
    assert expected in refusal(dataset)


@pytest.mark.parametrize("data", [b"", bytes(20), bytes(20 * 203), None], ids=["empty", "one", "one more", "none"])
def test_index_of_another_length_is_refused(dataset: Path, data: bytes | None) -> None:
    (dataset / INDEX_FILE).unlink()
    if data is not None:
        (dataset / INDEX_FILE).write_bytes(data)
    line = refusal(dataset)
    assert f"{dataset / INDEX_FILE} does not belong to the manifest" in line
    assert "202 samples" in line and "python -m data_prep index" in line


def test_index_of_another_dataset_of_the_same_length_is_refused(dataset: Path) -> None:
    """Labels and offsets of another dataset would train nonsense without a word."""
    index = np.fromfile(dataset / INDEX_FILE, INDEX_DTYPE)
    index["label"] = index["label"][::-1]
    index.tofile(dataset / INDEX_FILE)
    assert f"{dataset / INDEX_FILE} does not belong to the manifest" in refusal(dataset)


@pytest.mark.parametrize("text", [None, "only one\n", "a\n" * 21])
def test_names_that_are_missing_or_of_another_number_are_refused(dataset: Path, text: str | None) -> None:
    """Every checkpoint holds them: the first one would be too late."""
    path = dataset / "identities.txt"
    path.unlink() if text is None else path.write_text(text)
    assert "identities.txt is missing or has other names" in refusal(dataset)


@pytest.mark.parametrize("label", [20, 2**31 - 1, -1])
def test_label_that_is_no_class_is_refused(dataset: Path, edit_manifest: EditManifest, label: int) -> None:
    index = np.fromfile(dataset / INDEX_FILE, INDEX_DTYPE)
    index["label"][7] = label
    index.tofile(dataset / INDEX_FILE)
    digest = hashlib.sha256(index.tobytes()).hexdigest()
    edit_manifest(lambda fields: fields.update(index_sha256=digest))
    assert f"sample 7 has label {label}, labels must be in [0, num_classes) = [0, 20)" in refusal(dataset)


def test_no_manifest_is_refused(tmp_path: Path) -> None:
    line = refusal(tmp_path)
    assert f"{tmp_path / MANIFEST_FILE} is missing" in line and "python -m data_prep" in line


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"shards": 3}', '{"shards": [{"name": "a"}]}', "\xff"])
def test_broken_manifest_is_refused(dataset: Path, text: str) -> None:
    (dataset / MANIFEST_FILE).write_bytes(text.encode("latin1"))
    assert f"{dataset / MANIFEST_FILE} is not a manifest" in refusal(dataset)


@pytest.mark.parametrize("new_fields", [{}, {"storage": "remote"}], ids=["same fields", "new field"])
def test_manifest_of_another_version_is_refused(
    dataset: Path, edit_manifest: EditManifest, new_fields: dict[str, str]
) -> None:
    edit_manifest(lambda fields: fields.update(version=2, **new_fields))
    assert f"{dataset / MANIFEST_FILE} has version 2, not 1" in refusal(dataset)


def test_dataset_without_samples_is_refused(dataset: Path, edit_manifest: EditManifest) -> None:
    (dataset / INDEX_FILE).write_bytes(b"")
    digest = hashlib.sha256(b"").hexdigest()
    edit_manifest(lambda fields: fields.update(shards=[], num_samples=0, index_sha256=digest))
    assert f"{dataset} has no samples" in refusal(dataset)


def test_shard_cut_while_in_use_is_no_damaged_image(dataset: Path) -> None:
    shards = Shards(dataset)
    shard = dataset / shards.manifest.shards[-1].name
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(DataError, match=f"{shard.name} ends before byte"):
        shards.read([201])


def test_digest_tells_datasets_apart(dataset: Path, edit_manifest: EditManifest) -> None:
    before = Manifest.load(dataset)
    edit_manifest(lambda fields: fields["shards"][0].update(sha256="0" * 64))
    assert before.digest() != Manifest.load(dataset).digest()
    (dataset / MANIFEST_FILE).write_text(before.to_json())
    assert before == Manifest.load(dataset) and before.digest() == Manifest.load(dataset).digest()
