"""The data of a run, as Lightning asks for it."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lightning_face.data.augment import AugmentConfig, normalise
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.errors import CheckpointError, ConfigError, DataError

EditManifest = Callable[[Callable[[dict[str, Any]], object]], None]


def data_of(folder: Path, trainer: dict[str, Any] | None = None, **options: Any) -> FaceDataModule:
    """A data module attached to a trainer as far as it looks at one."""
    defaults = {"global_batch_size": 24, "image_size": 40, "num_workers": 0, "lanes": 8}
    data = FaceDataModule(str(folder), **{**defaults, **options})
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    attached = {"accumulate_grad_batches": 1, "global_rank": 0, "world_size": 1, "strategy": strategy, "training": True}
    data.trainer = SimpleNamespace(**{**attached, "state": SimpleNamespace(fn="fit"), **(trainer or {})})
    return data


def test_reads_the_options_from_the_dataset(tiny_dataset: Path) -> None:
    data = data_of(tiny_dataset, verification={"tiny": str(tiny_dataset)})
    assert (data.num_classes, data.order.num_samples, data.order.steps_per_epoch) == (20, 202, 8)
    assert data.predict.shards.folder == tiny_dataset and not data.predict.replace_damaged
    assert [len(loader.dataset) for loader in data.val_dataloader()] == [202]
    assert sum(len(batch.labels_B) for batch in data.predict_dataloader()) == 202


def test_shards_sorted_by_identity_are_shuffled_as_a_whole(dataset: Path, edit_manifest: EditManifest) -> None:
    assert data_of(dataset).order.window == 4096
    edit_manifest(lambda fields: fields.update(shuffled=False))
    assert data_of(dataset).order.window == 0


def test_position_follows_what_was_trained(tiny_dataset: Path) -> None:
    data = data_of(tiny_dataset)
    places = []
    for epoch, step in ((0, 0), (0, 6), (0, 7), (1, 0)):
        data.mark_trained(epoch, step)
        places.append((data.position.epoch, data.position.consumed))
    assert places == [(0, 24), (0, 168), (1, 0), (1, 24)]


@pytest.mark.parametrize("trained", [(0, 2), (0, 7), (3, 4)])
def test_goes_on_with_the_batches_that_were_not_trained(tiny_dataset: Path, trained: tuple[int, int]) -> None:
    former, resumed = data_of(tiny_dataset), data_of(tiny_dataset)
    former.mark_trained(*trained)
    resumed.load_state_dict(former.state_dict())
    first = next(iter(resumed.train_dataloader()))
    epoch, step = former.position.epoch, former.position.step_in_epoch
    assert (first.epoch, first.micro_step) == (epoch, step)
    assert first.sample_ids_B.tolist() == former.order.sample_ids(epoch, step, 1, range(24))[0].tolist()


def test_larger_batch_with_nothing_left_of_the_epoch_begins_the_next(tiny_dataset: Path) -> None:
    """Of 202 samples 192 are trained: a step of 8 is left, none of 64."""
    former, resumed = data_of(tiny_dataset, global_batch_size=8), data_of(tiny_dataset, global_batch_size=64)
    former.mark_trained(2, 23)
    assert former.position.consumed == 192
    resumed.load_state_dict(former.state_dict())
    assert (resumed.position.epoch, resumed.position.consumed) == (3, 0)


def test_evaluation_does_not_ask_for_the_same_order(tiny_dataset: Path) -> None:
    state = data_of(tiny_dataset, seed=5).state_dict()
    evaluated = data_of(tiny_dataset, {"state": SimpleNamespace(fn="test")})
    evaluated.load_state_dict(state)
    assert evaluated.position.seed == 0
    with pytest.raises(CheckpointError, match="seed: 5 -> 0"):
        data_of(tiny_dataset).load_state_dict(state)


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_ranks_share_the_batches_of_a_step(tiny_dataset: Path, num_ranks: int, accumulation: int) -> None:
    ids = []
    for rank in range(num_ranks):
        trainer = {"accumulate_grad_batches": accumulation, "global_rank": rank, "world_size": num_ranks}
        loader = data_of(tiny_dataset, trainer).train_dataloader()
        assert len(loader) == 8 * accumulation
        ids.append([batch.sample_ids_B.numpy() for batch in loader][:accumulation])
    expected = data_of(tiny_dataset).order.sample_ids(0, 0, 1, range(24))[0]
    assert np.array_equal(np.concatenate([np.concatenate(parts) for parts in zip(*ids, strict=True)]), expected)


@pytest.mark.parametrize("training", [True, False])
def test_augments_while_training_alone(tiny_dataset: Path, training: bool) -> None:
    data = data_of(tiny_dataset, {"training": training}, augment=AugmentConfig(flip=False, brightness=0.3))
    batch = next(iter(data.train_dataloader()))
    same, images = data.on_after_batch_transfer(batch, 0)
    assert same is batch
    assert torch.equal(images, normalise(batch.images_BHWC, 40)) is not training


def test_grey_images_reach_the_network_with_one_channel(tiny_dataset: Path) -> None:
    data = data_of(tiny_dataset, channels=1, image_size=28, augment=AugmentConfig(rotation_deg=10, contrast=0.3))
    batch = next(iter(data.train_dataloader()))
    assert batch.images_BHWC.shape == (24, 40, 40, 1)
    _, images = data.on_after_batch_transfer(batch, 0)
    assert images.shape == (24, 1, 28, 28) and float(images.std()) > 0.1


def test_channels_that_images_do_not_have_are_refused(tiny_dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.channels must be 3 for RGB or 1 for grey, got 4"):
        data_of(tiny_dataset, channels=4)
    with pytest.raises(ConfigError, match=r"augment\.saturation has no effect on grey images, got 0\.4 with"):
        data_of(tiny_dataset, channels=1, augment=AugmentConfig(saturation=0.4))


@pytest.mark.parametrize("change", [{"image_size": 0}, {"num_workers": -1}, {"verification_batch_size": 0}], ids=str)
def test_impossible_options_are_refused(tiny_dataset: Path, change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"must be above 0 and data\.num_workers not negative, got"):
        data_of(tiny_dataset, **change)


def test_people_of_an_identification_set_are_found_by_name(
    tiny_dataset: Path, dataset: Path, edit_names: Callable[[list[str]], None]
) -> None:
    names = [f"person_{number:02d}" for number in range(20)]
    edit_names(names[::-1])
    data = data_of(tiny_dataset, identification={"again": str(dataset)})
    assert data.classes_of["again"].tolist() == list(range(20))[::-1]
    assert [len(loader.dataset) for loader in data.val_dataloader()] == [202]
    edit_names([*names[:-1], "somebody else"])
    with pytest.raises(DataError, match=r"identification again: 1 of 20 identities .* is 'somebody else'; an ident"):
        data_of(tiny_dataset, identification={"again": str(dataset)})


def test_people_without_names_are_found_in_the_same_dataset_alone(
    tiny_dataset: Path, dataset: Path, edit_names: Callable[[list[str]], None], edit_manifest: EditManifest
) -> None:
    edit_names([str(number) for number in range(20)])
    assert data_of(dataset, identification={"itself": str(dataset)}).classes_of["itself"].tolist() == list(range(20))
    edit_manifest(lambda fields: fields.update(shuffled=False))
    with pytest.raises(DataError, match="are numbers, not names: those of another dataset cannot be told"):
        data_of(tiny_dataset, identification={"numbers": str(dataset)})


@pytest.mark.parametrize("name", ["verification", "predict"])
def test_folder_that_is_no_dataset_is_refused(tiny_dataset: Path, tmp_path: Path, name: str) -> None:
    value: Any = {"lfw": str(tmp_path)} if name == "verification" else str(tmp_path)
    with pytest.raises(DataError, match=r"manifest\.json is missing"):
        data_of(tiny_dataset, **{name: value})


def test_steps_of_identities_resume_too(tiny_dataset: Path) -> None:
    options = {"images_per_identity": 4, "tail_weight": 0.5}
    former, resumed = data_of(tiny_dataset, **options), data_of(tiny_dataset, **options)
    batches = list(former.train_dataloader())
    assert len(batches) == 8
    for batch in batches:
        assert (batch.labels_B.view(6, 4) == batch.labels_B.view(6, 4)[:, :1]).all() and batch.num_replaced == 0
    former.mark_trained(0, 4)
    resumed.load_state_dict(former.state_dict())
    rest = list(resumed.train_dataloader())
    assert [one.sample_ids_B.tolist() for one in rest] == [one.sample_ids_B.tolist() for one in batches[5:]]


def test_another_order_of_identities_is_refused(tiny_dataset: Path) -> None:
    """Another batch too: which visits make up a step depends on it."""
    saved = data_of(tiny_dataset, images_per_identity=4).state_dict()
    for change in ({"images_per_identity": 2}, {"tail_weight": 0.5}, {"global_batch_size": 16}):
        with pytest.raises(CheckpointError, match="another order of data"):
            data_of(tiny_dataset, **{"images_per_identity": 4, **change}).load_state_dict(saved)


def test_mined_triplets_are_saved_and_gone_on_with(tiny_dataset: Path) -> None:
    options = {"mine_every_n_steps": 3, "tail_weight": 0.5}
    former, resumed = data_of(tiny_dataset, **options), data_of(tiny_dataset, **options)
    for window in (0, 1):
        former.order.remember(window, former.order.subset(window)[np.arange(72).reshape(24, 3) % 24])
    batches = list(itertools.islice(former.train_dataloader(), 6))
    former.mark_trained(0, 3)
    resumed.load_state_dict(former.state_dict())
    rest = list(itertools.islice(resumed.train_dataloader(), 2))
    assert [one.sample_ids_B.tolist() for one in rest] == [one.sample_ids_B.tolist() for one in batches[4:]]
    for change in ({"mine_every_n_steps": 2}, {"images_per_identity": 3}, {"tail_weight": 0.0}):
        with pytest.raises(CheckpointError, match="another order of data"):
            data_of(tiny_dataset, **{**options, **change}).load_state_dict(former.state_dict())


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_a_subset_is_read_in_the_same_batches_by_any_number_of_ranks(tiny_dataset: Path, num_ranks: int) -> None:
    samples = np.arange(50)[::-1]
    batches = []
    for rank in range(num_ranks):
        ranks = {"global_rank": rank, "world_size": num_ranks}
        loader = data_of(tiny_dataset, ranks, verification_batch_size=8).subset_dataloader(samples)
        batches += [batch.sample_ids_B.tolist() for batch in loader]
    assert {len(batch) for batch in batches} == {8} and len(batches) % num_ranks == 0
    assert np.concatenate(batches)[:50].tolist() == samples.tolist()
