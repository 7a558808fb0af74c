"""Batches of decoded faces: damaged images are replaced and counted, never shown grey, never a reason to stop."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from torch.utils.data import DataLoader

from lightning_face.data.augment import NUM_DRAWS
from lightning_face.data.decode import decode_into, stored_size
from lightning_face.data.faces import BatchRequest, FaceBatch, Faces
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError

Overwrite = Callable[[int, bytes], None]

NO_JPEG = b"no JPEG at all"


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows downwards, green to the right."""
    red = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    green = np.linspace(0, 255, width)[None].repeat(height, 0)
    return np.stack([red, green, np.full((height, width), 80.0)], axis=2).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(pixels, quality=98, colorsubsampling="444")


def decoded(data: bytes, size: int, channels: int = 3) -> np.ndarray:
    """In the middle of a batch, whose other images stay as they are."""
    batch = np.full((3, size, size, channels), 7, dtype=np.uint8)
    decode_into(batch[1], data)
    assert (batch[[0, 2]] == 7).all()
    return batch[1]


def batch_of(folder: Path, ids: list[int], epoch: int = 0, seed: int = 1) -> FaceBatch:
    return Faces(Shards(folder), seed, replace_damaged=True)[BatchRequest(epoch, 0, np.array(ids))]


def test_decodes_to_rgb() -> None:
    image = decoded(jpeg(gradient(32, 32)), 32)
    assert np.abs(image.astype(int) - gradient(32, 32)).max() < 12


@pytest.mark.parametrize("shape", [(64, 64), (16, 16), (48, 24), (16, 64), (64, 16)], ids=str)
def test_image_of_another_size_is_scaled(shape: tuple[int, int]) -> None:
    image = decoded(jpeg(gradient(*shape)), 32)
    assert np.abs(image.astype(int) - gradient(32, 32)).mean() < 4
    assert stored_size(jpeg(gradient(*shape))) == max(shape)


def test_grey_jpeg_is_rgb_too() -> None:
    grey = simplejpeg.encode_jpeg(gradient(16, 16)[:, :, :1].copy(), colorspace="GRAY")
    image = decoded(grey, 16)
    assert (image[:, :, 0] == image[:, :, 2]).all()


@pytest.mark.parametrize("side", [16, 32])
def test_colours_become_grey(side: int) -> None:
    pixels = gradient(side, side)
    luma = pixels @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, which JPEG has
    image = decoded(jpeg(pixels), 16, channels=1)[:, :, 0]
    expected = luma.reshape(16, side // 16, 16, side // 16).mean(axis=(1, 3))
    assert np.abs(image - expected).max() < 8 and image.std() > 40


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_jpeg_is_refused_instead_of_filled_with_grey(share: float) -> None:
    whole = jpeg(gradient(64, 64))
    with pytest.raises(ValueError):
        decoded(whole[: int(share * len(whole))], 64)


def test_decompression_bombs_take_no_memory(dataset: Path, overwrite: Overwrite) -> None:
    bomb = bytearray(Shards(dataset).read([0])[0])
    start = bomb.index(b"\xff\xc0") + 5  # height and width
    bomb[start : start + 4] = (9000).to_bytes(2, "big") * 2
    for sample_id in (0, 20):
        overwrite(sample_id, bytes(bomb))
    tracemalloc.start()
    try:
        batch = batch_of(dataset, [19, 20, 21])
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert batch.num_replaced == 1 and torch.equal(batch.images_BHWC[1], batch.images_BHWC[2])
    for read in (stored_size, lambda data: decoded(data, 16)):
        with pytest.raises(ValueError, match="9000 x 9000 pixels are more than 64,000,000"):
            read(bytes(bomb))


def test_batch_holds_what_was_asked_for(tiny_dataset: Path) -> None:
    shards = Shards(tiny_dataset)
    batch = Faces(shards, seed=1, replace_damaged=True)[BatchRequest(3, 7, np.array([5, 0, 201]))]
    assert batch.sample_ids_B.tolist() == [5, 0, 201]
    assert batch.labels_B.tolist() == shards.labels(np.array([5, 0, 201])).tolist()
    assert (batch.epoch, batch.micro_step, batch.num_replaced) == (3, 7, 0)
    expected = [simplejpeg.decode_jpeg(data) for data in shards.read([5, 0, 201])]
    assert np.array_equal(batch.images_BHWC.numpy(), np.stack(expected))


def test_draws_belong_to_epoch_and_sample(tiny_dataset: Path) -> None:
    draws = batch_of(tiny_dataset, [4, 9], epoch=2).draws_BK
    assert draws.shape == (2, NUM_DRAWS) and draws.dtype == torch.float32
    assert draws.min() >= 0 and draws.max() < 1
    assert torch.equal(batch_of(tiny_dataset, [9, 30, 4], epoch=2).draws_BK[[2, 0]], draws)
    for other in ({"epoch": 3}, {"epoch": 2, "seed": 2}):
        assert not torch.isin(batch_of(tiny_dataset, [4, 9], **other).draws_BK, draws).any()


def test_noise_belongs_to_epoch_and_sample_and_is_normal(tiny_dataset: Path) -> None:
    noise = batch_of(tiny_dataset, [4, 9], epoch=2).noise_B
    assert noise.shape == (2,) and noise.dtype == torch.float32
    assert torch.equal(batch_of(tiny_dataset, [9, 30, 4], epoch=2).noise_B[[2, 0]], noise)
    for other in ({"epoch": 3}, {"epoch": 2, "seed": 2}):
        assert not torch.isin(batch_of(tiny_dataset, [4, 9], **other).noise_B, noise).any()
    many = batch_of(tiny_dataset, list(range(200))).noise_B
    assert abs(float(many.mean())) < 0.3 and 0.8 < float(many.std()) < 1.2


def test_images_of_each_class_are_counted(tiny_dataset: Path) -> None:
    shards = Shards(tiny_dataset)
    counts = Faces(shards, 1, replace_damaged=True).class_counts()
    labels = shards.labels(np.arange(202)).tolist()
    assert counts.tolist() == [labels.count(c) for c in range(shards.manifest.num_classes)]


def test_a_sample_that_comes_again_is_augmented_in_another_way(tiny_dataset: Path) -> None:
    batch = Faces(Shards(tiny_dataset), seed=1, replace_damaged=True)[BatchRequest(0, 0, np.array([5, 5 + 202]))]
    assert torch.equal(*batch.images_BHWC) and torch.equal(*batch.labels_B) and batch.num_replaced == 0
    assert not torch.equal(*batch.draws_BK)


def test_damaged_sample_is_replaced_by_the_next_readable_one(dataset: Path, overwrite: Overwrite) -> None:
    whole = batch_of(dataset, [10, 13, 201, 0])
    for sample_id in (10, 11, 12, 201):
        overwrite(sample_id, NO_JPEG)
    batch = batch_of(dataset, [10, 13, 201])
    assert torch.equal(batch.images_BHWC, whole.images_BHWC[[1, 1, 3]])
    assert torch.equal(batch.labels_B, whole.labels_B[[1, 1, 3]])
    assert batch.sample_ids_B.tolist() == [10, 13, 201]
    assert batch.num_replaced == 2


def test_jpeg_damaged_in_the_middle_is_replaced(dataset: Path, overwrite: Overwrite) -> None:
    """Its header is whole, the image data ends early."""
    whole = Shards(dataset).read([20])[0]
    overwrite(20, whole[: len(whole) * 3 // 4] + b"\xff\xd9".ljust(len(whole) // 4, b"\0"))
    assert batch_of(dataset, [19, 20, 21]).num_replaced == 1


@pytest.mark.parametrize("num_workers", [0, 1])
def test_replacement_is_the_same_in_every_run_and_worker(dataset: Path, overwrite: Overwrite, num_workers: int) -> None:
    overwrite(30, NO_JPEG)
    expected = batch_of(dataset, [30, 31])
    requests = [BatchRequest(0, 0, np.array([30, 31]))]
    (batch,) = DataLoader(
        Faces(Shards(dataset), 1, replace_damaged=True), sampler=requests, batch_size=None, num_workers=num_workers
    )
    assert all(np.array_equal(got, want) for got, want in zip(batch, expected, strict=True))
    assert [getattr(field, "dtype", int) for field in batch] == [getattr(field, "dtype", int) for field in expected]


def test_many_damaged_samples_in_a_row_are_an_error(dataset: Path, overwrite: Overwrite) -> None:
    for sample_id in range(50, 150):
        overwrite(sample_id, NO_JPEG)
    assert batch_of(dataset, [51]).num_replaced == 1
    with pytest.raises(
        DataError, match=r"100 samples in a row from number 50 on are no readable JPEGs.*data_prep check"
    ):
        batch_of(dataset, [50])


def test_dataset_without_any_readable_image_is_refused(dataset: Path, overwrite: Overwrite) -> None:
    for sample_id in range(202):
        overwrite(sample_id, NO_JPEG)
    with pytest.raises(DataError, match="none of the first samples is a readable JPEG") as error:
        Faces(Shards(dataset), 1, replace_damaged=True)
    assert "\n" not in str(error.value)


def test_size_is_that_of_the_first_readable_image(dataset: Path, overwrite: Overwrite) -> None:
    for sample_id in range(5):
        overwrite(sample_id, NO_JPEG)
    assert Faces(Shards(dataset), 1, replace_damaged=True).size == 40
