"""Whole batches of decoded faces, by sample id."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lightning_face.data.augment import NUM_DRAWS
from lightning_face.data.decode import decode_into, stored_size
from lightning_face.data.ring import Place
from lightning_face.data.shards import Shards
from lightning_face.errors import DataError
from lightning_face.hashing import normal, uniform


class BatchRequest(NamedTuple):
    """Which samples make up one micro-batch of one rank.

    Args:
        epoch: from 0.
        micro_step: number of the micro-batch in the epoch; optimizer step times accumulation plus micro-batch.
        sample_ids: (B,) int64; of N samples, number n stands for sample n mod N with an augmentation of its own.
        place: where to decode the images; None takes new memory.
    """

    epoch: int
    micro_step: int
    sample_ids: NDArray[np.int64]
    place: Place | None = None


class FaceBatch(NamedTuple):
    """One micro-batch of one rank.

    Args:
        images_BHWC: uint8 RGB or grey.
        labels_B: int64.
        sample_ids_B: int64, as asked for.
        draws_BK: float32 uniform numbers in [0, 1) that decide the augmentation.
        noise_B: float32 standard normal numbers, for losses that draw.
        epoch: of the request.
        micro_step: of the request.
        num_replaced: samples that could not be decoded, and were replaced by the next one of the index.
        place: of the images, by which a worker sends them; None sends them with their bytes.
    """

    images_BHWC: Tensor
    labels_B: Tensor
    sample_ids_B: Tensor
    draws_BK: Tensor
    noise_B: Tensor
    epoch: int
    micro_step: int
    num_replaced: int
    place: Place | None

    def __reduce__(self) -> tuple[Callable[..., "FaceBatch"], tuple[object, ...]]:
        """As a worker sends it: small tensors as arrays, since sending a tensor's file descriptor costs 0.7 ms."""
        images = self.images_BHWC if self.place is None else self.images_BHWC.shape
        others = (field.numpy() if isinstance(field, Tensor) else field for field in self[1:-1])
        return _received, (self.place, images, *others)


def _received(place: Place | None, images: Any, *fields: Any) -> FaceBatch:
    others = (torch.from_numpy(field) if isinstance(field, np.ndarray) else field for field in fields)
    return FaceBatch._make((images if place is None else place.tensor(images), *others, place))


class Faces(Dataset[FaceBatch]):
    """Map-style dataset whose keys are whole batches, so that a worker ships one array.

    Args:
        shards: where the images are.
        seed: of the augmentation, and of the losses' noise.
        channels: 3 for RGB, 1 for grey.
        replace_damaged: whether an image that cannot be decoded is replaced; it is an error otherwise, since another
            person's face in its place would falsify a figure.
    """

    MAX_DAMAGED_IN_A_ROW = 100

    def __init__(self, shards: Shards, seed: int, *, channels: int = 3, replace_damaged: bool) -> None:
        self.shards = shards
        self.seed = seed
        self.channels = channels
        self.replace_damaged = replace_damaged
        self.size = self._first_stored_size()

    def __len__(self) -> int:
        """Number of samples."""
        return self.shards.manifest.num_samples

    def batch_shape(self, num_images: int) -> torch.Size:
        """Shape (B, H, W, C) of decoded images."""
        return torch.Size((num_images, self.size, self.size, self.channels))

    def class_counts(self) -> Tensor:
        """Samples (C,) of each class, int64."""
        counts = np.bincount(self.shards.index["label"], minlength=self.shards.manifest.num_classes)
        return torch.from_numpy(counts)

    def __getitem__(self, request: BatchRequest) -> FaceBatch:
        """Read and decode one batch."""
        ids = np.asarray(request.sample_ids, dtype=np.int64)
        shape = self.batch_shape(len(ids))
        images = request.place.tensor(shape) if request.place else torch.empty(shape, dtype=torch.uint8)
        used = self._decode_into(images.numpy(), ids % len(self))
        return self.batch_of(request, used, images)

    def batch_of(self, request: BatchRequest, used_B: NDArray[np.int64], images: Tensor) -> FaceBatch:
        """A batch of given images.

        Args:
            request: what was asked for.
            used_B: the samples that these are images of.
            images: uint8, as in `FaceBatch`.
        """
        ids = np.asarray(request.sample_ids, dtype=np.int64)
        draws = uniform(self.seed, "augment", request.epoch, ids[:, None], np.arange(NUM_DRAWS))
        return FaceBatch(
            images,
            torch.from_numpy(self.shards.labels(used_B)),
            torch.from_numpy(ids),
            torch.from_numpy(draws.astype(np.float32)),
            torch.from_numpy(normal(self.seed, "noise", request.epoch, ids).astype(np.float32)),
            request.epoch,
            request.micro_step,
            int((used_B != ids % len(self)).sum()),
            request.place,
        )

    def _decode_into(self, images_BHWC: NDArray[np.uint8], ids_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """Decode samples, and for one that cannot be decoded the next readable one; returns which they were."""
        used_B = ids_B.copy()
        for row, (image_HWC, jpeg) in enumerate(zip(images_BHWC, self.shards.read(ids_B), strict=True)):
            try:
                decode_into(image_HWC, jpeg)
            except ValueError as error:
                used_B[row] = self._replace(image_HWC, int(ids_B[row]), error)
        return used_B

    def _replace(self, image_HWC: NDArray[np.uint8], damaged: int, error: ValueError) -> int:
        """Decode the first readable sample after a damaged one: a choice that every rank and run makes alike."""
        if not self.replace_damaged:
            raise DataError(
                f"{self.shards.folder}: sample {damaged} is no readable JPEG ({error}); make it again"
            ) from error
        for candidate in range(damaged + 1, damaged + self.MAX_DAMAGED_IN_A_ROW):
            try:
                decode_into(image_HWC, self.shards.read([candidate % len(self)])[0])
            except ValueError:
                continue
            return candidate % len(self)
        raise DataError(
            f"{self.shards.folder}: {self.MAX_DAMAGED_IN_A_ROW} samples in a row from number {damaged} on are no"
            f" readable JPEGs; run `python -m data_prep check {self.shards.folder}`"
        )

    def _first_stored_size(self) -> int:
        for sample_id in range(min(len(self), self.MAX_DAMAGED_IN_A_ROW)):
            try:
                return stored_size(self.shards.read([sample_id])[0])
            except ValueError:
                continue
        raise DataError(
            f"{self.shards.folder}: none of the first samples is a readable JPEG;"
            f" run `python -m data_prep check {self.shards.folder}`"
        )
