"""What is asked of batches before ranks are started."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_face.data.batch_checks import check_batch, check_pairs, check_triplets
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.errors import ConfigError


def data_of(folder: Path, **options: Any) -> FaceDataModule:
    """A data module whose steps have 24 samples."""
    return FaceDataModule(str(folder), global_batch_size=24, image_size=40, lanes=8, **options)


def test_batch_that_ranks_cannot_share_is_refused(tiny_dataset: Path) -> None:
    data = data_of(tiny_dataset)
    check_batch(data.order, 4, 3, data.num_workers)
    with pytest.raises(ConfigError, match=r"4 x 4 = 16; the nearest is 16 or 32"):
        check_batch(data.order, 4, 4, data.num_workers)


def test_micro_batches_hold_whole_identities(tiny_dataset: Path) -> None:
    data = data_of(tiny_dataset, images_per_identity=4)
    check_batch(data.order, 4, 3, data.num_workers)
    with pytest.raises(ConfigError, match="images_per_identity 4 must divide a micro-batch of 6 samples"):
        check_batch(data.order, 1, 4, data.num_workers)


def test_losses_over_pairs_need_several_images_of_several_identities(tiny_dataset: Path) -> None:
    data = data_of(tiny_dataset, images_per_identity=4)
    check_pairs(data.order, data.faces, accumulation=3, wanted_by=["triplet"])
    with pytest.raises(ConfigError, match=r"to 2 or more, below a micro-batch's 4 samples"):
        check_pairs(data.order, data.faces, accumulation=6, wanted_by=["triplet"])
    for options in ({}, {"images_per_identity": 1}, {"tail_weight": 0.5}):
        data = data_of(tiny_dataset, **options)
        check_pairs(data.order, data.faces, accumulation=1, wanted_by=[])
        with pytest.raises(ConfigError, match=r"^objective\.triplet compares .* set data\.images_per_identity to 2"):
            check_pairs(data.order, data.faces, accumulation=1, wanted_by=["triplet", "range"])


@pytest.mark.parametrize(
    ("counts", "said"),
    [([1, 1, 1, 0], r"images of 3 identities, at most 1 of each"), ([0, 24], r"images of 1 identities, at most 24")],
)
def test_losses_over_pairs_are_refused_on_data_without_pairs(
    tiny_dataset: Path, counts: list[int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each has one image, its copies would be its only positives; of one identity, there are no negatives."""
    for options in ({"images_per_identity": 4}, {"mine_every_n_steps": 3}):
        data = data_of(tiny_dataset, **options)
        monkeypatch.setattr(data.faces, "class_counts", lambda: torch.tensor(counts))
        check_pairs(data.order, data.faces, accumulation=1, wanted_by=[])
        with pytest.raises(ConfigError, match=rf"^objective\.range compares .* but {tiny_dataset} has {said}"):
            check_pairs(data.order, data.faces, accumulation=1, wanted_by=["range"])


def test_micro_batches_hold_whole_triplets_and_workers_stay_within_a_window(tiny_dataset: Path) -> None:
    data = data_of(tiny_dataset, mine_every_n_steps=3, num_workers=2)
    check_batch(data.order, 4, 2, data.num_workers)
    with pytest.raises(ConfigError, match="3 x 4 x 4 = 48; the nearest is 48"):
        check_batch(data.order, 4, 4, data.num_workers)
    with pytest.raises(ConfigError, match=r"must be at least 5, got 3: data\.num_workers read 4 micro-batches ahead"):
        check_batch(data.order, 1, 1, data.num_workers)


def test_mined_triplets_and_the_loss_that_takes_them_belong_together(tiny_dataset: Path) -> None:
    """Losses over pairs find theirs in them."""
    mined, plain = data_of(tiny_dataset, mine_every_n_steps=2), data_of(tiny_dataset)
    check_pairs(mined.order, mined.faces, accumulation=1, wanted_by=["contrastive", "triplet"])
    check_triplets(mined.order, are_wanted=True)
    check_triplets(plain.order, are_wanted=False)
    with pytest.raises(ConfigError, match=r"set objective\.triplet\.mining to offline"):
        check_triplets(mined.order, are_wanted=False)
    with pytest.raises(ConfigError, match=r"set data\.mine_every_n_steps"):
        check_triplets(plain.order, are_wanted=True)
