"""A network in one file: what is read is what was written, and nothing else is taken for it."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from lightning_face.checkpoint.exported import BACKBONE, Exported, Origin, load_backbone, write_exported
from lightning_face.errors import CheckpointError
from lightning_face.models import build_backbone

NETWORK = {"name": "mobilefacenet", "embedding_dim": 8, "neck": "auto", "image_size": 16}
ORIGIN = Origin(NETWORK, num_classes=3, manifest_hash="abc", step=7)
NAMES = "Ann\nBorís\n陈\n"
CLASSIFIER_CD = torch.arange(24.0).reshape(3, 8)


@pytest.fixture
def trained():
    torch.manual_seed(3)
    backbone = build_backbone(**NETWORK)
    with torch.no_grad():
        backbone(torch.randn(4, 3, 16, 16))  # running statistics are weights too
    return backbone


def tensors_of(backbone):
    return {f"{BACKBONE}{name}": tensor for name, tensor in backbone.state_dict().items()}


def test_the_network_comes_back_ready_to_embed(trained, tmp_path):
    write_exported(tmp_path / "face.safetensors", tensors_of(trained), NAMES, ORIGIN)
    images = torch.randn(2, 3, 16, 16)
    loaded = load_backbone(tmp_path / "face.safetensors")
    assert torch.equal(loaded(images), trained.eval()(images))


def test_tables_and_names_come_back(tmp_path):
    path = tmp_path / "face.safetensors"
    write_exported(path, {"classifier": CLASSIFIER_CD}, NAMES, ORIGIN)
    exported = Exported(path)
    assert exported.origin == ORIGIN
    assert exported.tables == {"classifier": [3, 8]}
    assert exported.identities() == ["Ann", "Borís", "陈"]
    ((first, rows),) = exported.blocks("classifier")
    assert first == 0 and torch.equal(rows, CLASSIFIER_CD)


def test_equal_contents_make_equal_files(trained, tmp_path):
    for name in ("one", "other"):
        write_exported(tmp_path / name, tensors_of(trained), NAMES, ORIGIN)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(("option", "value"), [("embedding_dim", 16), ("image_size", 32), ("name", "iresnet18")])
def test_another_network_is_refused(option, value, trained, tmp_path):
    path = tmp_path / "face.safetensors"
    write_exported(path, tensors_of(trained), NAMES, ORIGIN)
    with pytest.raises(CheckpointError, match=r"^.* holds another network \(.*\): backbone.*; use the same") as caught:
        Exported(path).load_into(build_backbone(**{**NETWORK, "image_size": 32, option: value}))
    assert len(str(caught.value)) < 600


def test_a_file_that_cannot_be_written_leaves_the_former_one(trained, tmp_path, monkeypatch):
    path = tmp_path / "face.safetensors"
    path.write_text("former")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightning_face.checkpoint.exported.write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        write_exported(path, tensors_of(trained), NAMES, ORIGIN)
    assert [entry.name for entry in tmp_path.iterdir()] == ["face.safetensors"]
    assert path.read_text() == "former"


def _other_kind(path):
    save_file({"weight": torch.zeros(2)}, path)


def _other_version(path):
    facts = {**asdict(ORIGIN), "version": 99}
    save_file({"weight": torch.zeros(2)}, path, {"lightning_face": json.dumps(facts)})


def _checkpoint_tables(path):
    save_file({"classifier": CLASSIFIER_CD}, path, {"lightning_face": json.dumps({"first_rows": {}, "version": 1})})


def _too_few_rows(path):
    write_exported(path, {"classifier": CLASSIFIER_CD[:2]}, NAMES, ORIGIN)


def _cut_short(path):
    write_exported(path, {"classifier": CLASSIFIER_CD}, NAMES, ORIGIN)
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "is missing"),
        (lambda path: path.write_text("no tensors"), "damaged or no file of ours"),
        (_other_kind, "damaged or no file of ours"),
        (_cut_short, "damaged or no file of ours"),
        (_other_version, "has version 99, this program reads 1"),
        (_checkpoint_tables, "was not written by `export`"),
        (_too_few_rows, "classifier has 2 rows for 3 classes"),
    ],
)
def test_other_files_are_refused(write, message, tmp_path):
    path = tmp_path / "face.safetensors"
    write(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        Exported(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_names_are_as_many_as_classes(tmp_path):
    write_exported(tmp_path / "face", {}, NAMES, replace(ORIGIN, num_classes=4))
    with pytest.raises(CheckpointError, match="3 names for 4 classes"):
        Exported(tmp_path / "face").identities()
