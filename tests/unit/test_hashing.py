"""Counter-based randomness: its numbers are frozen, since data orders and initial tables of old runs hang on them."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_face.hashing import Key, hash64, normal, permutation, seed_of, uniform


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((0,), 0xE220A8397B1DCDAF),  # the first output of the published splitmix64 with seed 0
        ((1,), 0x910A2DEC89025CC1),
        ((-1,), 0xE4D971771B652C20),
        (("order",), 0x1FD2222504956897),
        ((1, np.int64(3)), 9716232063330790915),
    ],
)
def test_hashes_never_change(keys: tuple[Key, ...], expected: int) -> None:
    assert int(hash64(*keys)) == expected


def test_streams_never_change() -> None:
    expected = [4074994364220954215, 17240411740935474334, 2595862146838117510, 14841066388976545930]
    assert hash64(7, "window", np.arange(4)).tolist() == expected
    expected_uniform = [0.18670877132869235, 0.4921697349972044, 0.10053234663738575, 0.4126206465082758]
    assert uniform(1, "augment", np.arange(4)).tolist() == pytest.approx(expected_uniform, abs=1e-15)
    expected_normal = [1.932656473855806, 0.6137630304914906, 0.23033656605712863, -1.5072854715586428]
    assert normal(1, "centers", np.arange(4)).tolist() == pytest.approx(expected_normal, abs=1e-12)
    assert permutation(10, 3, "shards", 0).tolist() == [4, 7, 8, 1, 0, 6, 5, 9, 2, 3]
    assert seed_of(1, "dropout", 2) == 2253128043557268874


def test_splitmix64_in_plain_integers() -> None:
    """One key at a time, as the paper writes it, without numpy's arithmetic."""

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
        return x ^ (x >> 31)

    state = 0
    for key in (12345, int.from_bytes(b"shards", "little"), 2**64 - 7):
        state = mix(((state ^ key) + 0x9E3779B97F4A7C15) % 2**64)
    assert int(hash64(12345, "shards", -7)) == state


NUMBERS = np.arange(200_000)


@pytest.mark.parametrize("keys", [(0, NUMBERS), (NUMBERS, 0), (5, "augment", 3, NUMBERS, 7)], ids=str)
def test_uniform_is_uniform(keys: tuple[Key, ...]) -> None:
    values = uniform(*keys)
    assert values.dtype == np.float64 and values.min() >= 0.0 and values.max() < 1.0
    # Five standard errors of mean, variance and of each tenth's share; neighbours are uncorrelated.
    assert values.mean() == pytest.approx(0.5, abs=5 * (1 / 12 / len(values)) ** 0.5)
    assert values.var() == pytest.approx(1 / 12, abs=0.001)
    assert np.bincount((values * 10).astype(int), minlength=10) / len(values) == pytest.approx(0.1, abs=0.0034)
    assert np.corrcoef(values[:-1], values[1:])[0, 1] == pytest.approx(0.0, abs=0.0112)


def test_normal_has_the_moments_of_a_normal() -> None:
    values = normal(0, "centers", NUMBERS)
    error = len(values) ** -0.5
    moments = [np.mean(values**power) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0.0, 1.0, 0.0, 3.0], abs=5 * error * 96**0.5)
    assert values.mean() == pytest.approx(0.0, abs=5 * error)
    assert np.mean(np.abs(values) < 1.0) == pytest.approx(0.6827, abs=5 * 0.4654 * error)
    assert np.isfinite(values).all()


@given(st.integers(0, 300), st.integers(-(2**63), 2**63 - 1))
def test_permutation_holds_every_number_once(size: int, seed: int) -> None:
    assert sorted(permutation(size, seed, "shards")) == list(range(size))


def test_permutation_puts_every_number_everywhere() -> None:
    places = np.stack([permutation(8, seed) for seed in range(4000)])
    for number in range(8):
        shares = (places == number).mean(axis=0)
        assert shares == pytest.approx(1 / 8, abs=5 * (7 / 64 / 4000) ** 0.5)


@pytest.mark.parametrize(
    "others",
    [(2, "window", 3), (1, "shards", 3), (1, "window", 4), ("window", 1, 3), (1, 3, "window"), (1, "window"), (13,)],
)
def test_other_keys_give_another_stream(others: tuple[Key, ...]) -> None:
    values, other_values = uniform(1, "window", 3, NUMBERS), uniform(*others, NUMBERS)
    assert not np.intersect1d(values, other_values).size
    assert np.corrcoef(values, other_values)[0, 1] == pytest.approx(0.0, abs=0.0112)


@pytest.mark.parametrize("function", [hash64, uniform, normal])
def test_keys_broadcast(function: Callable[..., np.ndarray]) -> None:
    table = function(9, np.arange(3)[:, None], np.arange(4))
    assert table.shape == (3, 4)
    expected = [[function(9, row, column) for column in range(4)] for row in range(3)]
    assert np.array_equal(table, np.array(expected))
    assert function(9, 1).shape == ()


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.uint64])
def test_integers_of_every_type_are_one_key(dtype: type) -> None:
    assert np.array_equal(hash64(1, np.arange(5, dtype=dtype)), [hash64(1, number) for number in range(5)])


def test_negative_integers_of_numpy_and_python_agree() -> None:
    assert int(hash64(np.array(-3))) == int(hash64(-3)) == int(hash64(2**64 - 3))


def test_names_are_refused_where_only_their_beginning_would_count() -> None:
    assert int(hash64("abcdefgh")) != int(hash64("abcdefg"))
    with pytest.raises(AssertionError, match="8"):
        hash64("brightness")


def test_seed_fits_a_library_generator() -> None:
    seeds = [seed_of(1, "dropout", step) for step in range(100)]
    assert all(0 <= seed < 2**63 for seed in seeds) and len(set(seeds)) == 100
