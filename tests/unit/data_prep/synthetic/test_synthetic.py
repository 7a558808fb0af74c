"""The generator of faces: pure functions of their numbers, Zipf-like counts, balanced pairs in disjoint folds."""

import io
import pickle
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from data_prep.synthetic.faces import identity_of, nuisance_of, render_face
from data_prep.synthetic.pictures import Item, Renderer, balanced_pairs, identity_name, plan
from lightning_face.errors import ConfigError


def test_same_numbers_same_bytes() -> None:
    items = plan(3, 9, seed=4)
    first = [Renderer(seed=4)(item) for item in items]
    backwards = [Renderer(seed=4)(item) for item in items[::-1]]
    assert first == backwards[::-1]
    assert len(set(first)) == 9


def test_same_bytes_in_another_process() -> None:
    items = plan(2, 6, seed=1)
    renderer = Renderer(seed=1)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(renderer, items)) == [renderer(item) for item in items]


def test_jpeg_of_the_size_asked_for() -> None:
    picture = Image.open(io.BytesIO(Renderer(size=96, seed=2)(Item(5, 7))))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (96, 96), "RGB")


def test_identity_depends_on_its_number_and_the_seed_alone() -> None:
    assert identity_of(0, 3) == identity_of(0, 3)
    assert len({identity_of(seed, number) for seed in (0, 1) for number in range(50)}) == 100
    assert len({nuisance_of(0, number, image) for number in range(10) for image in range(10)}) == 100


@pytest.mark.parametrize("other", [(1, 3, 5), (0, 4, 5), (0, 3, 6)])
def test_every_number_changes_the_picture(other: tuple[int, int, int]) -> None:
    difference = render_face(0, 3, 5).astype(float) - render_face(*other)
    assert np.abs(difference).mean() > 5.0


def test_picture_uses_the_range_of_levels() -> None:
    pictures = np.stack([render_face(0, number, 0) for number in range(20)])
    assert pictures.shape == (20, 112, 112, 3) and pictures.dtype == np.uint8
    assert pictures.std(axis=(1, 2)).min() > 5.0  # nobody is a blank
    assert 60.0 < pictures.mean() < 190.0


def test_counts_sum_and_follow_zipf() -> None:
    items = plan(100, 3_000, seed=0, min_images=5)
    counts = sorted(Counter(item.identity for item in items).values())
    assert sum(counts) == len(items) == 3_000 and len(counts) == 100
    assert counts[0] >= 5
    assert counts[-1] > 10 * counts[10] and counts[-1] > counts[-2] > counts[-5]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("num_images", [14, 15, 100, 1_001])
def test_counts_sum_for_every_exponent(num_images: int, exponent: float) -> None:
    counts = Counter(item.identity for item in plan(7, num_images, seed=3, zipf_exponent=exponent))
    assert sum(counts.values()) == num_images and min(counts.values()) >= 2 and len(counts) == 7


def test_items_number_identities_and_images() -> None:
    items = plan(4, 20, seed=0, first_identity=1_000)
    assert [item.identity for item in items] == sorted(item.identity for item in items)
    assert {item.identity for item in items} == {1_000, 1_001, 1_002, 1_003}
    for identity in range(1_000, 1_004):
        images = [item.image for item in items if item.identity == identity]
        assert images == list(range(len(images)))


def test_the_large_identities_are_anywhere() -> None:
    largest = {
        max(Counter(item.identity for item in plan(50, 1_000, seed=seed)).items(), key=lambda c: c[1])[0]
        for seed in range(9)
    }
    assert len(largest) > 5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"num_identities": 0, "num_images": 5}, "num_identities must be at least 1, got 0"),
        ({"num_identities": 5, "num_images": 9}, "num_images must be at least .* = 10, got 9"),
        ({"num_identities": 5, "num_images": 9, "min_images": 0}, "min_images must be at least 1, got 0"),
        ({"num_identities": 5, "num_images": 10, "zipf_exponent": -1.0}, "zipf_exponent must be in"),
        ({"num_identities": 5, "num_images": 10, "first_identity": -1}, "first_identity must not be negative"),
    ],
)
def test_impossible_plans(arguments: dict, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as error:
        plan(**arguments, seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"size": 8}, {"quality": 0}, {"quality": 101}, {"reuse": 0}])
def test_impossible_renderers(options: dict) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))} must be"):
        Renderer(**options)


def test_reuse_shares_a_few_pictures() -> None:
    renderer = Renderer(size=32, reuse=3)
    pictures = [renderer(item) for item in plan(20, 60, seed=0)]
    assert len(set(pictures)) == 3
    assert len(pickle.dumps(renderer)) < 500  # the pool stays behind
    assert [pickle.loads(pickle.dumps(renderer))(item) for item in plan(20, 60, seed=0)] == pictures


def test_names_are_distinct_and_sort_like_numbers() -> None:
    names = [identity_name(number) for number in (0, 9, 10, 1_000_000)]
    assert names == sorted(set(names))


def test_pairs_are_balanced_true_and_different() -> None:
    items = plan(60, 600, seed=1)
    rows = balanced_pairs(items, 400, seed=1)
    assert len(rows) == 400 and len({frozenset(row[:2]) for row in rows}) == 400
    assert Counter((fold, same) for _, _, same, fold in rows) == {
        (fold, same): 20 for fold in range(10) for same in (0, 1)
    }
    for left, right, same, _ in rows:
        assert left != right and (items[left].identity == items[right].identity) == bool(same)


def test_folds_share_no_identity() -> None:
    items = plan(60, 600, seed=1)
    fold_of: dict[int, int] = {}
    for left, right, _, fold in balanced_pairs(items, 400, seed=1):
        assert fold_of.setdefault(items[left].identity, fold) == fold
        assert fold_of.setdefault(items[right].identity, fold) == fold


def test_genuine_pairs_are_spread_over_identities() -> None:
    items = plan(40, 4_000, seed=1, zipf_exponent=2.0)
    people = Counter(items[left].identity for left, _, same, _ in balanced_pairs(items, 400, seed=0) if same)
    assert len(people) == 40 and max(people.values()) < 20


def test_pairs_are_a_function_of_the_seed() -> None:
    items = plan(60, 600, seed=1)
    assert balanced_pairs(items, 200, seed=1) == balanced_pairs(items, 200, seed=1)
    assert balanced_pairs(items, 200, seed=1) != balanced_pairs(items, 200, seed=2)


def test_all_pairs_there_are() -> None:
    items = plan(
        20, 40, seed=0
    )  # two images each: one genuine pair for each identity, four impostor pairs for each fold
    assert sum(row.same for row in balanced_pairs(items, 40, seed=0)) == 20
    with pytest.raises(ConfigError, match="num_pairs must be at most 40 for these, got 60"):
        balanced_pairs(items, 60, seed=0)


@pytest.mark.parametrize(
    ("num_identities", "num_pairs", "expected"),
    [(40, 50, "multiple of 20"), (40, 0, "multiple of 20"), (19, 20, "at least 20 identities")],
)
def test_impossible_pairs(num_identities: int, num_pairs: int, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        balanced_pairs(plan(num_identities, 10 * num_identities, seed=0), num_pairs, seed=0)
