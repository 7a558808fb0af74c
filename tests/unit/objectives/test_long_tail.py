"""Buckets of classes by their number of images, and means of figures by bucket."""

import pytest
import torch

from lightning_face.objectives.long_tail import BUCKETS, buckets_of, means_by_bucket, sums_by_bucket


@pytest.mark.parametrize("seed", range(50))
def test_buckets_hold_thirds_of_the_images_as_far_as_equal_classes_let_them(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    num_classes, most = (int(torch.randint(1, high, (), generator=generator)) for high in (60, 40))
    counts = torch.randint(0, most, (num_classes,), generator=generator).square()
    counts[0] = 1
    buckets, total = buckets_of(counts), int(counts.sum())
    assert buckets.dtype == torch.int8 and set(buckets.tolist()) <= {0, 1, 2}
    for bucket, count in zip(buckets.tolist(), counts.tolist(), strict=True):
        # Where the middle of the images of all classes with this count stands, the most frequent class first.
        more, alike = int(counts[counts > count].sum()), int(counts[counts == count].sum())
        place = (more + alike / 2) / total
        assert bucket == (0 if place < 1 / 3 else 2 if place > 2 / 3 else 1)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5, 5, 5], "middle middle middle"),
        ([7], "middle"),
        ([1, 100, 1, 1], "tail middle tail tail"),  # most images are of one class
        ([10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "head" + 10 * " tail"),
        ([6, 3, 3, 2, 2, 2, 0], "head middle middle tail tail tail tail"),
    ],
)
def test_buckets_by_hand(counts: list[int], expected: str) -> None:
    assert [BUCKETS[bucket] for bucket in buckets_of(torch.tensor(counts))] == expected.split()


def test_means_are_those_of_the_samples_of_each_bucket() -> None:
    buckets = torch.tensor([0, 2, 2, 1], dtype=torch.int8)
    classes, values = torch.tensor([1, 0, 2, 2, 1]), torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    figures = {"loss": (classes, values), "share": (classes[:2], torch.tensor([True, False]))}
    means = means_by_bucket(list(figures), sums_by_bucket(figures, buckets))
    expected = {"loss": 31 / 5, "loss_head": 2.0, "loss_tail": 29 / 4}  # no value is of the middle
    expected |= {"share": 0.5, "share_head": 0.0, "share_tail": 1.0}
    assert {name: float(mean) for name, mean in means.items()} == pytest.approx(expected)
