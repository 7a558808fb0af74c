"""Class tables go to the disk and back bit for bit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lightning_face.checkpoint import tables as checkpoint_tables
from lightning_face.checkpoint.tables import check_shapes, load_tables, save_tables, tables_file
from lightning_face.errors import CheckpointError


def tables(num_classes: int = 5, dim: int = 3) -> dict[str, Tensor]:
    rows = torch.randn(num_classes, dim, generator=torch.Generator().manual_seed(num_classes))
    rows[0, 0], rows[1, 1] = -0.0, 1e-42  # a sign and a subnormal that only bits keep
    classifier = torch.stack([rows.flip(0), rows], dim=1)  # two rows per class
    return {"centers": rows, "classifier": classifier, "classifier.step": torch.tensor(7, dtype=torch.int64)}


def load(checkpoint: Path, own: dict[str, Tensor], held: dict[str, range]) -> None:
    """Load from all files that there are."""
    load_tables(checkpoint, [path.name for path in checkpoint.iterdir()], own, held)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def blank(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def assert_same_bits(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert {name: bits(tensor) for name, tensor in actual.items()} == {
        name: bits(tensor) for name, tensor in expected.items()
    }


def test_round_trip_bit_for_bit(tmp_path: Path) -> None:
    saved, own = tables(), blank(tables())
    save_tables(tmp_path, 0, saved, {})
    load(tmp_path, own, {})
    assert_same_bits(own, saved)


def test_bfloat16_stays_bfloat16(tmp_path: Path) -> None:
    saved = {"classifier.momentum_buffer": tables()["classifier"].bfloat16()}
    own = blank(saved)
    save_tables(tmp_path, 0, saved, {})
    load(tmp_path, own, {})
    on_disk = load_file(tmp_path / tables_file(0))
    for loaded in (own, on_disk):
        assert loaded["classifier.momentum_buffer"].dtype == torch.bfloat16
        assert_same_bits(
            {name: value.view(torch.int16) for name, value in loaded.items()},
            {name: value.view(torch.int16) for name, value in saved.items()},
        )


def blocks(num_rows: int, num_ranks: int) -> list[range]:
    return [range(num_rows * rank // num_ranks, num_rows * (rank + 1) // num_ranks) for rank in range(num_ranks)]


@pytest.mark.parametrize("num_after", [1, 2, 3, 7])
@pytest.mark.parametrize("num_before", [1, 2, 3, 7])
def test_any_number_of_ranks_loads_what_any_other_saved(tmp_path: Path, num_before: int, num_after: int) -> None:
    """The classifier is shared out; centers and the step are whole on every rank, and saved by rank 0."""
    saved = tables()
    for rank, block in enumerate(blocks(5, num_before)):
        own = {"classifier": saved["classifier"][block.start : block.stop]}
        whole = {name: saved[name] for name in ("centers", "classifier.step")} if rank == 0 else {}
        save_tables(tmp_path, rank, {**own, **whole}, {"classifier": block})
    for block in blocks(5, num_after):
        rows = saved["classifier"][block.start : block.stop]
        loaded = blank({**saved, "classifier": rows})
        load(tmp_path, loaded, {"classifier": block})
        assert_same_bits(loaded, {**saved, "classifier": rows})


@pytest.mark.parametrize("part_bytes", [1, 40, 100, 128])
def test_large_tables_are_saved_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    """As many as the bytes need; what has no rows is in the first, and every row is in one."""
    monkeypatch.setattr(checkpoint_tables, "PART_BYTES", part_bytes)
    saved = tables()
    own = {**saved, "classifier": saved["classifier"][1:4]}
    files = save_tables(tmp_path, 2, own, {"classifier": range(1, 4)})
    assert len(files) == -(-sum(tensor.nbytes for tensor in own.values()) // part_bytes)
    assert files[:2] == ["tables-00002.safetensors", "tables-00002-1.safetensors"][: len(files)]
    assert sorted(files) == sorted(path.name for path in tmp_path.iterdir())
    loaded = blank(own)
    load(tmp_path, loaded, {"classifier": range(1, 4)})
    assert_same_bits(loaded, own)
    first = load_file(tmp_path / files[0])
    assert first["classifier.step"] == 7 and all("classifier.step" not in load_file(tmp_path / f) for f in files[1:])


def test_shared_and_whole_tables_load_each_other(tmp_path: Path) -> None:
    saved = tables()
    save_tables(tmp_path, 0, {"centers": saved["centers"][:2]}, {"centers": range(0, 2)})
    save_tables(tmp_path, 1, {"centers": saved["centers"][2:]}, {"centers": range(2, 5)})
    whole = blank({"centers": saved["centers"]})
    load(tmp_path, whole, {})
    assert_same_bits(whole, {"centers": saved["centers"]})


def test_rows_that_nobody_saved_are_an_error(tmp_path: Path) -> None:
    save_tables(tmp_path, 0, {"centers": torch.ones(2, 3)}, {"centers": range(0, 2)})
    with pytest.raises(CheckpointError, match=r"lacks rows of class tables: .*centers.*: 3"):
        load(tmp_path, blank({"centers": tables()["centers"]}), {})


def test_files_that_overlap_do_not_hide_a_hole(tmp_path: Path) -> None:
    for rank, rows in enumerate((range(0, 3), range(1, 3))):  # as many rows as the table has
        save_tables(tmp_path, rank, {"centers": torch.ones(len(rows), 3)}, {"centers": rows})
    with pytest.raises(CheckpointError, match=r"lacks rows of class tables: .*centers.*: 2"):
        load(tmp_path, blank({"centers": tables()["centers"]}), {})


def test_only_files_of_the_checkpoint_are_loaded(tmp_path: Path) -> None:
    """A file may be left over from elsewhere; what holds no tables is passed over."""
    saved, own = tables(), blank(tables())
    save_tables(tmp_path, 0, saved, {})
    save_tables(tmp_path, 1, {"centers": torch.ones(5, 3)}, {})
    load_tables(tmp_path, ["dense.ckpt", tables_file(0)], own, {})
    assert_same_bits(own, saved)


def test_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / tables_file(0)).write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=f"{tables_file(0)} is damaged"):
        load(tmp_path, tables(), {})


def test_loads_into_the_tensors_of_the_run(tmp_path: Path) -> None:
    """Also into one that an optimizer moves, and from one that is a view with other strides."""
    rows = torch.randn(3, 4)
    save_tables(tmp_path, 0, {"classifier": rows.T}, {})
    own = torch.zeros(4, 3, requires_grad=True)
    address = own.data_ptr()
    load(tmp_path, {"classifier": own}, {})
    assert torch.equal(own.detach(), rows.T)
    assert own.data_ptr() == address and own.is_leaf and own.grad_fn is None


@pytest.mark.parametrize(
    ("own", "difference"),
    [
        ({"centers": [6, 3], "classifier": [6, 3]}, "centers: [5, 3] -> [6, 3]; classifier: [5, 3] -> [6, 3]"),
        ({"centers": [5, 4], "classifier": [5, 3]}, "centers: [5, 3] -> [5, 4]"),
        ({"centers": [5, 3], "classifier": [5, 3], "momentum": [5, 3]}, "momentum: absent -> [5, 3]"),
        ({"centers": [5, 3]}, "classifier: [5, 3] -> absent"),
    ],
    ids=["classes", "dimension", "more", "fewer"],
)
def test_other_tables_are_refused(own: dict[str, list[int]], difference: str) -> None:
    with pytest.raises(CheckpointError) as error:
        check_shapes({"centers": [5, 3], "classifier": [5, 3]}, own, "the checkpoint")
    assert "the checkpoint holds other class tables than this run: " in str(error.value)
    assert difference in str(error.value) and "\n" not in str(error.value)


def test_equal_shapes_pass() -> None:
    check_shapes({"centers": [5, 3]}, {"centers": [5, 3]}, "here")
