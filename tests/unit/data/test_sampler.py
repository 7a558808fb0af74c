"""Samplers of whole batches, with the real DataLoader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from lightning_face.data.faces import BatchRequest, FaceBatch, Faces
from lightning_face.data.order import LaneOrder
from lightning_face.data.sampler import SequentialSampler, TrainSampler, share_of
from lightning_face.data.shards import Shards

Summary = tuple[int, int, list[int], list[int], int]


@pytest.fixture(scope="module")
def faces(tiny_dataset: Path) -> Faces:
    return Faces(Shards(tiny_dataset), seed=1, replace_damaged=True)


@pytest.fixture(scope="module")
def order(faces: Faces) -> LaneOrder:
    return LaneOrder(tuple(shard.samples for shard in faces.shards.manifest.shards), 24, seed=1, lanes=8, window=5)


@pytest.fixture
def sampler(order: LaneOrder) -> Callable[..., TrainSampler]:
    def make(**changes: int) -> TrainSampler:
        options = {"accumulation": 1, "rank": 0, "num_ranks": 1, "first_epoch": 0, "first_step": 0}
        return TrainSampler(order, **{**options, **changes})

    return make


def read(faces: Faces, sampler: TrainSampler, epochs: range, num_workers: int, **options: Any) -> list[Summary]:
    """What arrives of some epochs, as Lightning asks for it: `set_epoch` before each `iter`."""
    loader = DataLoader(faces, sampler=sampler, batch_size=None, num_workers=num_workers, **options)
    batches: list[Summary] = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        batches += [summary(batch) for batch in loader]
    return batches


def summary(batch: FaceBatch) -> Summary:
    pixels = int(batch.images_BHWC.long().sum())
    return batch.epoch, batch.micro_step, batch.sample_ids_B.tolist(), batch.labels_B.tolist(), pixels


def requests(sampler: TrainSampler, epoch: int) -> list[tuple[int, int, list[int]]]:
    sampler.set_epoch(epoch)
    return [plain(request) for request in sampler]


def plain(request: BatchRequest) -> tuple[int, int, list[int]]:
    return request.epoch, request.micro_step, request.sample_ids.tolist()


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more workers than this machine's cores
@pytest.mark.parametrize(
    ("num_workers", "options"),
    [(1, {}), (2, {"persistent_workers": True}), (4, {"prefetch_factor": 3})],
    ids=["1", "2 persistent", "4"],
)
def test_workers_do_not_change_the_batches(
    faces: Faces, sampler: Callable[..., TrainSampler], num_workers: int, options: dict[str, Any]
) -> None:
    expected = read(faces, sampler(), range(2), 0)
    assert len(expected) == 16
    assert read(faces, sampler(), range(2), num_workers, **options) == expected
    resumed = sampler(first_epoch=0, first_step=5)
    assert read(faces, resumed, range(2), num_workers, **options) == expected[5:]


@pytest.mark.parametrize("first_step", [0, 3, 8])
def test_goes_on_where_it_was_stopped(sampler: Callable[..., TrainSampler], first_step: int) -> None:
    whole = requests(sampler(), 1)
    resumed = sampler(first_epoch=1, first_step=first_step)
    assert requests(resumed, 1) == whole[first_step:]
    assert requests(resumed, 2) == requests(sampler(), 2)
    assert len(resumed) == 8


def test_iter_before_set_epoch_is_the_resumed_epoch(sampler: Callable[..., TrainSampler]) -> None:
    """Lightning's order of calls when a run goes on."""
    resumed = sampler(first_epoch=3, first_step=2)
    batches = iter(resumed)
    resumed.set_epoch(3)
    assert [plain(batch) for batch in batches] == requests(sampler(), 3)[2:]


def test_set_epoch_does_not_move_an_iterator_in_use(sampler: Callable[..., TrainSampler]) -> None:
    expected, used = requests(sampler(), 0), sampler()
    batches = iter(used)
    first = next(batches)
    used.set_epoch(1)
    assert [plain(first), *map(plain, batches)] == expected


@pytest.mark.parametrize("accumulation", [1, 2, 3])
@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_ranks_and_micro_batches_make_up_the_step(
    order: LaneOrder, sampler: Callable[..., TrainSampler], accumulation: int, num_ranks: int
) -> None:
    of_ranks = [
        requests(sampler(accumulation=accumulation, rank=rank, num_ranks=num_ranks), 2) for rank in range(num_ranks)
    ]
    expected = order.sample_ids(2, 0, 8, range(24)).reshape(8 * accumulation, -1)
    for micro_step, shares in enumerate(zip(*of_ranks, strict=True)):
        assert [share[:2] for share in shares] == [(2, micro_step)] * num_ranks
        assert [number for share in shares for number in share[2]] == expected[micro_step].tolist()


def test_steps_are_computed_piece_by_piece(
    sampler: Callable[..., TrainSampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = requests(sampler(accumulation=2), 0)
    monkeypatch.setattr(LaneOrder, "steps_at_once", 3)
    assert requests(sampler(accumulation=2), 0) == expected
    assert requests(sampler(accumulation=2, first_step=2), 0) == expected[4:]


@pytest.mark.parametrize("num_samples", [1, 2, 7, 24, 25])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_sequential_covers_every_sample_in_equal_batches(num_samples: int, num_ranks: int, batch_size: int) -> None:
    samplers = [
        SequentialSampler(range(num_samples), batch_size=batch_size, rank=rank, num_ranks=num_ranks)
        for rank in range(num_ranks)
    ]
    batches = [[request.sample_ids for request in sampler] for sampler in samplers]
    sizes = [[len(ids) for ids in of_rank] for of_rank in batches]
    assert sizes == [sizes[0]] * num_ranks and max(sizes[0]) <= batch_size
    assert [len(sampler) for sampler in samplers] == [len(sizes[0])] * num_ranks
    assert {int(number) for of_rank in batches for ids in of_rank for number in ids} == set(range(num_samples))


def test_sequential_keeps_the_order_of_the_index(faces: Faces) -> None:
    loader = DataLoader(faces, sampler=SequentialSampler(faces, batch_size=64, rank=0, num_ranks=1), batch_size=None)
    batches = list(loader)
    assert [number for batch in batches for number in batch.sample_ids_B.tolist()] == list(range(202))
    assert [(batch.epoch, batch.micro_step) for batch in batches] == [(0, 0), (0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize("number", [1, 7, 24, 25, 1000])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_shares_are_whole_batches_that_do_not_depend_on_the_ranks(number: int, batch_size: int, num_ranks: int) -> None:
    shares = [share_of(number, batch_size, rank, num_ranks) for rank in range(num_ranks)]
    assert len({len(share) for share in shares}) == 1 and len(shares[0]) % batch_size == 0
    assert len(shares[0]) < number / num_ranks + batch_size
    alone = share_of(number, batch_size, 0, 1).tolist()
    together = [place for share in shares for place in share.tolist()]
    assert together[: len(alone)] == alone and alone[:number] == list(range(number))
    assert set(together[number:]) <= {number - 1}
