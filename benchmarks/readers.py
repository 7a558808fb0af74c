"""Ways to read a dataset of JPEGs into uint8 batches: ours, and what it is compared with."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import simplejpeg
import torch
import webdataset as wds
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor

from lightning_face.data.faces import Faces
from lightning_face.data.loading import make_loader
from lightning_face.data.order import LaneOrder
from lightning_face.data.sampler import TrainSampler
from lightning_face.data.shards import Shards

OURS, DECODING, WEBDATASET, IMAGE_FOLDER = "ours", "decoding alone", "WebDataset", "ImageFolder + PIL"
SHUFFLE_BUFFER = 1000

Reader = Callable[[], int]
"""Reads an epoch; returns the number of images."""


def make_readers(dataset: Path, images: Path, batch_size: int, num_workers: int) -> dict[str, Reader]:
    """All of them, over the same images, with equally many processes.

    Args:
        dataset: a folder of shards with manifest and index.
        images: the same images in a folder for each identity.
        batch_size: images a batch.
        num_workers: processes that read and decode; 0 reads in this one.
    """
    faces = Faces(Shards(dataset), seed=0, replace_damaged=True)
    tars = [str(dataset / shard.name) for shard in faces.shards.manifest.shards]
    return {
        OURS: lambda: _count_images(_ours(faces, batch_size, num_workers)),
        DECODING: partial(_decode_in_processes, faces.shards.read(range(len(faces))), num_workers),
        WEBDATASET: lambda: _count_images(_webdataset(tars, batch_size, num_workers)),
        IMAGE_FOLDER: lambda: _count_images(_image_folder(images, batch_size, num_workers)),
    }


def unpack(dataset: Path, images: Path) -> None:
    """Write a dataset's images into a folder for each identity."""
    shards = Shards(dataset)
    labels = shards.index["label"].tolist()
    for label in set(labels):
        (images / f"{label:06d}").mkdir(parents=True)
    for number, (label, jpeg) in enumerate(zip(labels, shards.read(range(len(labels))), strict=True)):
        (images / f"{label:06d}" / f"{number:06d}.jpg").write_bytes(jpeg)


def _ours(faces: Faces, batch_size: int, num_workers: int) -> Iterable[Any]:
    order = LaneOrder(tuple(shard.samples for shard in faces.shards.manifest.shards), batch_size, seed=0)
    sampler = TrainSampler(order, accumulation=1, rank=0, num_ranks=1, first_epoch=0, first_step=0)
    return make_loader(
        faces, sampler, batch_size, num_workers=num_workers, keep_workers=False, device=torch.device("cpu")
    )


def _webdataset(tars: Sequence[str], batch_size: int, num_workers: int) -> Iterable[Any]:
    pipeline = wds.WebDataset(list(tars), shardshuffle=len(tars), seed=0).shuffle(SHUFFLE_BUFFER)
    pipeline = pipeline.to_tuple("jpg", "cls").map_tuple(_decode, int).batched(batch_size)
    return DataLoader(pipeline, batch_size=None, num_workers=num_workers)


def _image_folder(images: Path, batch_size: int, num_workers: int) -> Iterable[Any]:
    folder = ImageFolder(images, transform=PILToTensor())
    return DataLoader(folder, batch_size=batch_size, shuffle=True, num_workers=num_workers)


def _count_images(batches: Iterable[Any]) -> int:
    return sum(len(images) for images, *_ in batches)


def _decode_in_processes(jpegs: Sequence[bytes], num_workers: int) -> int:
    """As many processes as the readers have: two that share a core are slower than one, also in CPU time."""
    if num_workers == 0:
        _decode_all(jpegs)
    processes = [
        get_context("fork").Process(target=_decode_all, args=(jpegs[worker::num_workers],))
        for worker in range(num_workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return len(jpegs)


def _decode_all(jpegs: Sequence[bytes]) -> None:
    for jpeg in jpegs:
        _decode(jpeg)


def _decode(jpeg: bytes) -> Any:
    return simplejpeg.decode_jpeg(jpeg, colorspace="RGB", strict=True)
