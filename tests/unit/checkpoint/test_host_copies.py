"""Copies hold what was there, in memory that is used again."""

import pytest
import torch

from lightning_face.checkpoint.host_copies import HostCopies


def test_nothing_that_happens_later_reaches_a_copy() -> None:
    rows, weight = torch.arange(6.0).reshape(3, 2), torch.nn.Parameter(torch.ones(2))
    value = {"rows": rows, "dense": {"weights": [weight.detach(), torch.tensor(7)], "groups": [{"lr": 0.1}]}}
    copied = HostCopies().copy(value)
    rows += 1
    weight.data.mul_(2)
    value["dense"]["groups"][0]["lr"] = 0.2
    assert torch.equal(copied["rows"], torch.arange(6.0).reshape(3, 2))
    assert torch.equal(copied["dense"]["weights"][0], torch.ones(2))
    assert copied["dense"]["weights"][1] == 7
    assert copied["dense"]["groups"] == [{"lr": 0.1}]


def test_memory_is_used_again_where_tensors_are_as_before() -> None:
    copies, value = HostCopies(), {"rows": torch.ones(3, 2), "count": torch.tensor(1)}
    assert copies.missing_bytes(value) == 3 * 2 * 4 + 8
    first = {name: tensor.data_ptr() for name, tensor in copies.copy(value).items()}
    assert copies.missing_bytes(value) == 0
    assert {name: tensor.data_ptr() for name, tensor in copies.copy(value).items()} == first
    # As after the first step of an optimizer, which has no state before; dtype and layout count, too.
    more = {**value, "momentum": torch.zeros(5, dtype=torch.bfloat16)}
    assert copies.missing_bytes(more) == 10
    assert torch.equal(copies.copy(more)["momentum"], more["momentum"])
    assert copies.missing_bytes({"rows": torch.ones(2, 3).T, "count": torch.tensor(1.0)}) == 3 * 2 * 4 + 4


@pytest.mark.parametrize("tensor", [torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), torch.randn(5, 4).T])
def test_layout_is_kept(tensor: torch.Tensor) -> None:
    copied = HostCopies().copy([tensor])[0]
    assert copied.stride() == tensor.stride() and torch.equal(copied, tensor)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_copy_waits_for_what_the_device_is_about_to_do() -> None:
    copies, rows = HostCopies(), torch.zeros(2000, 2000, device="cuda")
    for number in range(1, 4):
        for _ in range(50):
            rows = rows @ torch.zeros_like(rows)
        rows += number
        copied = copies.copy({"rows": rows})["rows"]
        rows += 1
        assert copied.device.type == "cpu" and bool((copied == number).all())
