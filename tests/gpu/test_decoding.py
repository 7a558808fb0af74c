"""Images decoded on the GPU against the CPU's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_face.data.device_decode import EncodedFaces
from lightning_face.data.faces import BatchRequest, Faces
from lightning_face.data.shards import Shards

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:.*TorchCodec:DeprecationWarning"),
]


def test_a_batch_is_that_of_the_cpu(tiny_dataset: Path) -> None:
    """Decoders differ in how they round, and in how they enlarge colours."""
    encoded = EncodedFaces(Faces(Shards(tiny_dataset), seed=1, replace_damaged=True))
    request = BatchRequest(0, 0, np.arange(64))
    decoded, expected = encoded.decoded(encoded[request], torch.device("cuda")), encoded.faces[request]
    assert decoded.images_BHWC.device.type == "cuda" and decoded.num_replaced == 0
    assert torch.equal(decoded.labels_B, expected.labels_B)
    differences = (decoded.images_BHWC.cpu().int() - expected.images_BHWC.int()).abs().float()
    assert differences.mean() < 2
