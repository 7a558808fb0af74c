"""Memory for batches: what is looked at is never written, and what nobody looks at is used again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lightning_face.data.faces import BatchRequest, FaceBatch, Faces
from lightning_face.data.loading import make_loader
from lightning_face.data.ring import Ring
from lightning_face.data.sampler import GivenSampler
from lightning_face.data.shards import Shards


def test_a_place_is_free_when_no_view_is_left() -> None:
    ring = Ring(2, 12)
    taken = [ring.take(), ring.take()]
    assert ring.take() is None
    tensor = taken[0].tensor((3, 4))
    row = tensor.fill_(7)[1]
    del tensor
    assert not ring.free and row.tolist() == [7, 7, 7, 7]
    del row
    assert ring.take() == taken[0]


def test_a_tensor_outlives_its_ring() -> None:
    ring = Ring(1, 4)
    tensor = ring.take().tensor((4,))
    del ring
    assert tensor.fill_(3).tolist() == [3, 3, 3, 3]


def loader_of(folder: Path, ids: np.ndarray, batch_size: int, num_workers: int) -> DataLoader[FaceBatch]:
    faces = Faces(Shards(folder), seed=0, replace_damaged=True)
    workers = {"num_workers": num_workers, "keep_workers": num_workers > 0, "device": torch.device("cpu")}
    return make_loader(faces, GivenSampler(ids, batch_size), batch_size, **workers)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_that_are_kept_keep_their_images(tiny_dataset: Path, num_workers: int) -> None:
    """More of them than places: the rest gets memory of its own."""
    ids = np.random.default_rng(0).permutation(np.arange(202))
    loader = loader_of(tiny_dataset, ids, 13, num_workers)
    for _ in range(2):
        kept = list(loader)
        assert len(kept) == 16 and sum(batch.place is None for batch in kept) > 5
        images = torch.cat([batch.images_BHWC for batch in kept])
        assert torch.equal(images, loader.dataset[BatchRequest(0, 0, ids)].images_BHWC)
        assert torch.cat([batch.sample_ids_B for batch in kept]).tolist() == ids.tolist()
        del kept


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_that_are_dropped_make_room(tiny_dataset: Path, num_workers: int) -> None:
    places = [batch.place for batch in loader_of(tiny_dataset, np.arange(202), 5, num_workers)]
    assert len(places) == 41 and None not in places
