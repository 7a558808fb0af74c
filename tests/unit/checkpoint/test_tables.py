"""Class tables go to the disk and back bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_face.checkpoint.tables import check_shapes, load_tables, save_tables, shapes_of
from lightning_face.errors import CheckpointError


def tables(num_classes: int = 5, dim: int = 3) -> dict[str, Tensor]:
    rows = torch.randn(num_classes, dim, generator=torch.Generator().manual_seed(num_classes))
    rows[0, 0], rows[1, 1] = -0.0, 1e-42  # a sign and a subnormal that only bits keep
    return {"centers": rows, "classifier": rows.flip(0), "classifier.step": torch.tensor(7, dtype=torch.int64)}


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def test_round_trip_bit_for_bit(tmp_path: Path) -> None:
    saved, own = tables(), {name: torch.zeros_like(tensor) for name, tensor in tables().items()}
    save_tables(tmp_path / "tables", saved)
    load_tables(tmp_path / "tables", own)
    assert {name: bits(tensor) for name, tensor in own.items()} == {
        name: bits(tensor) for name, tensor in saved.items()
    }


def test_loads_into_the_tensors_of_the_run(tmp_path: Path) -> None:
    """Also into one that an optimizer moves, and from one that is a view with other strides."""
    rows = torch.randn(3, 4)
    save_tables(tmp_path / "tables", {"classifier": rows.T})
    own = torch.zeros(4, 3, requires_grad=True)
    address = own.data_ptr()
    load_tables(tmp_path / "tables", {"classifier": own})
    assert torch.equal(own.detach(), rows.T)
    assert own.data_ptr() == address and own.is_leaf and own.grad_fn is None


def test_shapes() -> None:
    assert shapes_of(tables()) == {"centers": [5, 3], "classifier": [5, 3], "classifier.step": []}


@pytest.mark.parametrize(
    ("own", "difference"),
    [
        (tables(num_classes=6), "centers: [5, 3] -> [6, 3]; classifier: [5, 3] -> [6, 3]"),
        (tables(dim=4), "centers: [5, 3] -> [5, 4]"),
        ({**tables(), "classifier.momentum": torch.zeros(5, 3)}, "classifier.momentum: absent -> [5, 3]"),
        ({"centers": tables()["centers"]}, "classifier: [5, 3] -> absent; classifier.step: [] -> absent"),
    ],
    ids=["classes", "dimension", "more", "fewer"],
)
def test_other_tables_are_refused_and_nothing_is_loaded(
    tmp_path: Path, own: dict[str, Tensor], difference: str
) -> None:
    save_tables(tmp_path / "tables", tables())
    before = {name: bits(tensor) for name, tensor in own.items()}
    with pytest.raises(CheckpointError) as error:
        load_tables(tmp_path / "tables", own)
    assert f"{tmp_path / 'tables'} holds other class tables than this run: " in str(error.value)
    assert difference in str(error.value) and "\n" not in str(error.value)
    assert {name: bits(tensor) for name, tensor in own.items()} == before


def test_equal_shapes_pass() -> None:
    check_shapes({"centers": [5, 3]}, {"centers": [5, 3]}, "here")
