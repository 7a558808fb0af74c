"""A device's decoder gives the batch that the CPU gives, whatever it refuses. Here the device is a CPU."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import decode_jpeg

from lightning_face.data import device_decode
from lightning_face.data.batch_checks import check_decoding
from lightning_face.data.device_decode import EncodedFaces
from lightning_face.data.faces import BatchRequest, FaceBatch, Faces
from lightning_face.data.loading import make_loader
from lightning_face.data.sampler import GivenSampler
from lightning_face.data.shards import Shards
from lightning_face.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*TorchCodec:DeprecationWarning")

Overwrite = Callable[[int, bytes], None]
CPU = torch.device("cpu")


def faces_of(folder: Path, channels: int = 3) -> Faces:
    return Faces(Shards(folder), seed=1, channels=channels, replace_damaged=True)


def assert_equal(decoded: FaceBatch, expected: FaceBatch) -> None:
    for name, got, wanted in zip(FaceBatch._fields, decoded, expected, strict=True):
        assert torch.equal(torch.as_tensor(got), torch.as_tensor(wanted)) if name != "place" else got is None, name


def jpeg(side: int, **options: Any) -> bytes:
    """A few hundred bytes of a smooth picture."""
    picture = Image.fromarray(np.linspace(0, 255, 12).astype(np.uint8).reshape(2, 2, 3)).resize((side, side))
    file = io.BytesIO()
    picture.convert(options.pop("mode", "RGB")).save(file, "JPEG", quality=40, **options)
    return file.getvalue()


@pytest.mark.parametrize(("num_workers", "channels"), [(0, 1), (1, 3)])
def test_equals_the_batches_of_the_cpu(tiny_dataset: Path, num_workers: int, channels: int) -> None:
    encoded, ids = EncodedFaces(faces_of(tiny_dataset, channels)), np.arange(399, 0, -3)
    workers = {"num_workers": num_workers, "keep_workers": False, "device": CPU}
    for number, batch in enumerate(make_loader(encoded, GivenSampler(ids, 50), 50, **workers)):
        expected = encoded.faces[BatchRequest(0, number, ids[50 * number : 50 * number + 50])]
        assert_equal(encoded.decoded(batch, CPU), expected)


def test_odd_images_are_those_of_the_cpu(dataset: Path, overwrite: Overwrite) -> None:
    bomb = bytearray(jpeg(40))
    start = bomb.index(b"\xff\xc0") + 5  # height and width
    bomb[start : start + 4] = (9000).to_bytes(2, "big") * 2
    odd = [b"no JPEG", jpeg(16), jpeg(64), jpeg(40, progressive=True), jpeg(40, mode="L"), bytes(bomb)]
    for sample_id, data in enumerate(odd, 20):
        overwrite(sample_id, data)
    encoded = EncodedFaces(faces_of(dataset))
    request = BatchRequest(2, 5, np.arange(18, 30))
    expected = encoded.faces[request]
    assert expected.num_replaced == 2
    assert_equal(encoded.decoded(encoded[request], CPU), expected)


def test_what_the_device_refuses_is_decoded_on_the_cpu(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, request = EncodedFaces(faces_of(tiny_dataset)), BatchRequest(0, 0, np.arange(64))
    batch, calls = encoded[request], []
    refused = [bytes(encoded.faces.shards.read([sample_id])[0]) for sample_id in (5, 40)]

    def decode(jpegs: Sequence[Tensor], *options: Any) -> list[Tensor]:
        calls.append(len(jpegs))
        if any(one.numpy().tobytes() in refused for one in jpegs):
            raise RuntimeError("nvjpegDecode failed")
        return decode_jpeg(jpegs, *options)

    monkeypatch.setattr(device_decode, "decode_jpeg", decode)
    assert_equal(encoded.decoded(batch, CPU), encoded.faces[request])
    assert len(calls) <= 1 + 2 * 2 * 6  # each refused one halves the batch six times


def test_a_torchvision_that_decodes_nothing(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = EncodedFaces(faces_of(tiny_dataset))

    def refuse(*_: object) -> list[Tensor]:
        raise RuntimeError("not compiled with CUDA support")

    monkeypatch.setattr(device_decode, "decode_jpeg", refuse)
    with pytest.raises(DataError, match=r"data\.decode gpu: torchvision reads none .* set data\.decode to cpu"):
        encoded.decoded(encoded[BatchRequest(0, 0, np.arange(4))], CPU)


def test_a_gpu_is_asked_for_where_there_is_none() -> None:
    check_decoding(False, CPU)
    check_decoding(True, torch.device("cuda", 0))
    with pytest.raises(ConfigError, match=r"data\.decode gpu needs a CUDA device, this run trains on cpu"):
        check_decoding(True, CPU)
