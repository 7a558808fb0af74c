"""The sample of a step against the hash in numpy, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_face.hashing import hash64, uniform
from lightning_face.tables.sampling import hash_of_last, is_sampled

CPU = torch.device("cpu")
INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(INT64, max_size=3), st.lists(INT64, min_size=1, max_size=20))
def test_torch_hashes_as_numpy_does(keys: list[int], numbers: list[int]) -> None:
    hashes = hash_of_last(int(hash64(*keys)), torch.tensor(numbers, dtype=torch.int64))
    assert np.array_equal(hashes.numpy().view(np.uint64), hash64(*keys, np.array(numbers, dtype=np.int64)))


@given(INT64, st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 50), st.floats(0.0, 1.0, exclude_min=True))
def test_a_class_is_sampled_where_its_uniform_number_is_below_the_rate(
    seed: int, step: int, first: int, count: int, rate: float
) -> None:
    classes = range(first, first + count)
    sampled = is_sampled(classes, rate, seed=seed, step=step, device=CPU)
    assert np.array_equal(sampled.numpy(), uniform(seed, "sampled", step, np.array(classes, dtype=np.int64)) < rate)


def test_the_border_itself_is_not_sampled() -> None:
    number = float(uniform(1, "sampled", 2, 3))
    assert not is_sampled(range(3, 4), number, seed=1, step=2, device=CPU).item()
    assert is_sampled(range(3, 4), np.nextafter(number, 1.0), seed=1, step=2, device=CPU).item()


@pytest.mark.parametrize("rate", [1e-3, 0.1, 0.5, 1.0])
def test_the_share_is_the_rate_and_steps_and_seeds_are_independent(rate: float) -> None:
    count = 200_000
    options = ({"seed": 1, "step": 0}, {"seed": 1, "step": 1}, {"seed": 2, "step": 0})
    samples = [is_sampled(range(count), rate, device=CPU, **option) for option in options]
    for sample in samples:
        assert float(sample.double().mean()) == pytest.approx(rate, abs=5 * (rate * (1 - rate) / count) ** 0.5)
    both = rate**2
    for other in samples[1:]:
        share = float((samples[0] & other).double().mean())
        assert share == pytest.approx(both, abs=5 * (both * (1 - both) / count) ** 0.5)
