"""Training images decoded on the GPU: workers read and send what is encoded. The only door to torchvision.

Shapes: B images; C channels, H x W pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_jpeg

from lightning_face.data.decode import COLORS, scaled, stored_size
from lightning_face.data.faces import BatchRequest, FaceBatch, Faces
from lightning_face.errors import DataError


class EncodedBatch(NamedTuple):
    """What a worker sends of one micro-batch.

    Args:
        jpegs: (bytes,) uint8 of all images, end to end; an array, which stays on the host.
        sizes: of each image in `jpegs`, bytes; 0 for one that no decoder should be asked for.
        batch: all else; its images are empty.
    """

    jpegs: NDArray[np.uint8]
    sizes: tuple[int, ...]
    batch: FaceBatch


class EncodedFaces(Dataset[EncodedBatch]):
    """Batches whose images are still encoded, and what makes them whole on a device.

    The device's decoder decides which images it can read; of the others, `Faces` decodes or replaces each.

    Args:
        faces: the same batches, decoded on the CPU.
    """

    def __init__(self, faces: Faces) -> None:
        self.faces = faces

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.faces)

    def __getitem__(self, request: BatchRequest) -> EncodedBatch:
        """Read one batch."""
        used = np.asarray(request.sample_ids, dtype=np.int64) % len(self)
        jpegs = [jpeg if _is_safe(jpeg) else b"" for jpeg in self.faces.shards.read(used)]
        batch = self.faces.batch_of(request, used, torch.empty(self.faces.batch_shape(0), dtype=torch.uint8))
        return EncodedBatch(np.frombuffer(bytearray().join(jpegs), np.uint8), tuple(map(len, jpegs)), batch)

    def decoded(self, encoded: EncodedBatch, device: torch.device) -> FaceBatch:
        """The batch with its images (B, H, W, C) uint8 on a device.

        Raises:
            DataError: the device's decoder reads none of several images, or too many are damaged.
        """
        batch = encoded.batch
        jpegs = np.split(encoded.jpegs, np.cumsum(encoded.sizes)[:-1])
        found = _decode([torch.from_numpy(jpeg) for jpeg in jpegs], self.faces.channels, device)
        if len(found) > 1 and all(image is None for image in found):
            raise DataError(
                f"data.decode gpu: torchvision reads none of a batch of {self.faces.shards.source} on {device};"
                " set data.decode to cpu, or install a torchvision that is built for CUDA"
            )
        labels_B, images, num_replaced = batch.labels_B.clone(), list[Tensor](), 0
        for row, image in enumerate(found):
            if image is None:
                only = BatchRequest(batch.epoch, batch.micro_step, batch.sample_ids_B[row : row + 1].numpy())
                other = self.faces[only]
                labels_B[row], num_replaced = other.labels_B[0], num_replaced + other.num_replaced
                image = other.images_BHWC[0].to(device).permute(2, 0, 1)
            images.append(scaled(image, self.faces.size))
        images_BHWC = torch.stack(images).permute(0, 2, 3, 1)
        return batch._replace(images_BHWC=images_BHWC, labels_B=labels_B, num_replaced=num_replaced)


def _is_safe(jpeg: bytes) -> bool:
    """Whether it has a header, and claims no more memory than images may."""
    try:
        return stored_size(jpeg) > 0
    except ValueError:
        return False


def _decode(jpegs: Sequence[Tensor], channels: int, device: torch.device) -> list[Tensor | None]:
    """Images (C, H, W), None for those that the device's decoder refuses: found by halves, as it does not name them."""
    if len(jpegs) == 1 and not len(jpegs[0]):
        return [None]
    try:
        return list(decode_jpeg(list(jpegs), ImageReadMode[COLORS[channels]], device))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        if len(jpegs) == 1:
            return [None]
        half = len(jpegs) // 2
        return [*_decode(jpegs[:half], channels, device), *_decode(jpegs[half:], channels, device)]
