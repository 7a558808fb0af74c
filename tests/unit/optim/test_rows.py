"""RowOptimizer against torch.optim, bit for bit, also from a state saved midway."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lightning_face.optim.row_config import RowOptimizerConfig, RowOptimizerKind
from lightning_face.optim.rows import RowOptimizer
from tests.oracle import assert_close

CONFIGS = [
    RowOptimizerConfig(),
    RowOptimizerConfig(momentum=0.0),
    RowOptimizerConfig(momentum=0.5, weight_decay=0.0),
    RowOptimizerConfig(kind="adamw"),
    RowOptimizerConfig(kind="adamw", betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    RowOptimizerConfig(state_dtype="bfloat16"),
    RowOptimizerConfig(kind="adamw", betas=(0.9, 0.99), state_dtype="bfloat16"),
]
NUM_STEPS = 6
SLOWEST = 1.0 - 2.0**-8


def learning_rate(step: int) -> float:
    return 0.1 / (step + 1)


def start() -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(13, 7, generator=generator)
    gradients = [torch.randn(13, 7, generator=generator) for _ in range(NUM_STEPS)]
    gradients[0][4] = 0.0  # a class that no sample of the first batch belongs to
    return rows, gradients


def whole(gradient: Tensor) -> list[tuple[slice, Tensor]]:
    """The gradient of all rows in one part."""
    return [(slice(None), gradient)]


def reference_rows(config: RowOptimizerConfig) -> list[Tensor]:
    """The rows after each step of torch.optim, whose state is rounded between steps where the config says so."""
    rows, gradients = start()
    parameter = torch.nn.Parameter(rows)
    optimizer: torch.optim.Optimizer
    if config.kind == "sgd":
        optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=config.momentum, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.AdamW(
            [parameter], lr=1.0, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
        )
    after = []
    for step, gradient in enumerate(gradients):
        optimizer.param_groups[0]["lr"] = learning_rate(step)
        parameter.grad = gradient.clone()
        optimizer.step()
        if config.state_dtype == "bfloat16":
            for name, value in optimizer.state[parameter].items():
                value.copy_(value if name == "step" else value.bfloat16())
        after.append(parameter.detach().clone())
    return after


@pytest.mark.parametrize("config", CONFIGS)
def test_equals_torch_bit_for_bit(config: RowOptimizerConfig) -> None:
    rows, gradients = start()
    optimizer = RowOptimizer(config, rows)
    for step, expected in enumerate(reference_rows(config)):
        optimizer.step(rows, whole(gradients[step]), learning_rate(step))
        assert torch.equal(rows, expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_equals_torch_from_a_state_saved_midway(config: RowOptimizerConfig) -> None:
    rows, gradients = start()
    optimizer = RowOptimizer(config, rows)
    for step in range(3):
        optimizer.step(rows, whole(gradients[step]), learning_rate(step))
    saved_rows = rows.clone()
    saved_state = {key: value.clone() for key, value in optimizer.state().items()}

    resumed = RowOptimizer(config, torch.zeros_like(saved_rows))
    assert resumed.state().keys() == saved_state.keys()
    for key, value in resumed.state().items():
        value.copy_(saved_state[key])
    for step in range(3, NUM_STEPS):
        resumed.step(saved_rows, whole(gradients[step]), learning_rate(step))
    assert torch.equal(saved_rows, reference_rows(config)[-1])


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_are_independent_so_shards_agree_with_the_whole(config: RowOptimizerConfig) -> None:
    rows, gradients = start()
    shards = [rows[:5].clone(), rows[5:].clone()]
    optimizers = [RowOptimizer(config, shard) for shard in shards]
    for step, gradient in enumerate(gradients):
        for optimizer, shard, part in zip(optimizers, shards, (gradient[:5], gradient[5:]), strict=True):
            optimizer.step(shard, whole(part), learning_rate(step))
    assert torch.equal(torch.cat(shards), reference_rows(config)[-1])


@pytest.mark.parametrize("config", CONFIGS)
def test_a_step_may_come_in_parts(config: RowOptimizerConfig) -> None:
    """Each part is applied before the gradient of the next one is asked for, and a step counts once."""
    rows, gradients = start()
    optimizer = RowOptimizer(config, rows)

    def parts(gradient: Tensor) -> Iterator[tuple[slice, Tensor]]:
        before = rows.clone()
        for part in (slice(0, 4), slice(4, 9), slice(9, 13)):
            assert torch.equal(rows[part], before[part])
            yield part, gradient[part]
            assert not torch.equal(rows[part], before[part])

    for step, expected in enumerate(reference_rows(config)):
        optimizer.step(rows, parts(gradients[step]), learning_rate(step))
        assert torch.equal(rows, expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_places_are_updated_like_slices(config: RowOptimizerConfig) -> None:
    rows, gradients = start()
    optimizer = RowOptimizer(config, rows)
    for step, expected in enumerate(reference_rows(config)):
        parts = [torch.tensor([0, 3, 12]), slice(4, 9), torch.tensor([1, 2, 9, 10, 11]), torch.tensor([]).long()]
        optimizer.step(rows, [(part, gradients[step][part]) for part in parts], learning_rate(step))
        assert torch.equal(rows, expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_of_no_part_keep_every_bit_and_so_does_their_state(config: RowOptimizerConfig) -> None:
    """No weight decay, and no decay of their momentum."""
    rows, gradients = start()
    optimizer = RowOptimizer(config, rows)
    optimizer.step(rows, whole(gradients[0]), 0.1)
    tables = {"rows": rows, **{name: value for name, value in optimizer.state().items() if value.ndim}}
    before = {name: table.clone() for name, table in tables.items()}
    left_out, places = torch.tensor([0, 2, 6, 11, 12]), torch.tensor([1, 3, 4, 5, 7, 8, 9, 10])
    for gradient in gradients[1:]:
        optimizer.step(rows, [(places, gradient[places])], 0.1)
    for name, table in tables.items():
        assert torch.equal(table[left_out], before[name][left_out])
        assert (table[places] != before[name][places]).any(1).all()


def test_adamw_counts_the_steps_of_the_table() -> None:
    rows, gradients = start()
    optimizer = RowOptimizer(RowOptimizerConfig(kind="adamw"), rows)
    for part in (slice(0, 4), torch.tensor([3, 5]), torch.tensor([]).long()):
        optimizer.step(rows, [(part, gradients[0][part])], 0.1)
    assert optimizer.state()["step"] == 3.0


@pytest.mark.parametrize("config", CONFIGS)
def test_works_in_place_and_only_reads_the_gradient(config: RowOptimizerConfig) -> None:
    rows, gradients = start()
    optimizer = RowOptimizer(config, rows)
    address, gradient = rows.data_ptr(), gradients[1].clone()
    state_addresses = {key: value.data_ptr() for key, value in optimizer.state().items()}
    for _ in range(2):
        optimizer.step(rows, whole(gradient), 0.1)
    assert rows.data_ptr() == address
    assert torch.equal(gradient, gradients[1])
    assert {key: value.data_ptr() for key, value in optimizer.state().items()} == state_addresses


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_state_in_bfloat16_takes_half_the_memory_and_rows_stay_close(kind: RowOptimizerKind) -> None:
    betas = {} if kind == "sgd" else {"betas": (0.9, 0.99)}
    configs = [RowOptimizerConfig(kind=kind, state_dtype=dtype, **betas) for dtype in ("float32", "bfloat16")]
    rows, gradients = start()
    both = [rows.clone(), rows.clone()]
    optimizers = [RowOptimizer(config, table) for config, table in zip(configs, both, strict=True)]
    for step, gradient in enumerate(gradients):
        for optimizer, table in zip(optimizers, both, strict=True):
            optimizer.step(table, whole(gradient), learning_rate(step))
    exact, rounded = both
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert_close(rounded - rows, exact - rows, tolerance=2.0**-8)
    for name, value in optimizers[1].state().items():
        wanted = optimizers[0].state()[name]
        assert value.dtype == (torch.bfloat16 if value.ndim else torch.float32)
        assert_close(value, wanted, tolerance=2.0**-6)


@pytest.mark.parametrize(
    "config",
    [
        RowOptimizerConfig(momentum=SLOWEST, state_dtype="bfloat16", weight_decay=0.0),
        RowOptimizerConfig(kind="adamw", betas=(SLOWEST, SLOWEST), state_dtype="bfloat16"),
    ],
)
def test_the_slowest_decay_in_bfloat16_still_forgets(config: RowOptimizerConfig) -> None:
    """A slower one would be rounded back to where it was."""
    rows, gradients = start()
    optimizer = RowOptimizer(config, rows)
    optimizer.step(rows, whole(gradients[0]), 0.1)
    begun = {name: value.float().abs() for name, value in optimizer.state().items() if value.ndim}
    for _ in range(300):
        optimizer.step(rows, whole(torch.zeros_like(rows)), 0.1)
    for name, value in begun.items():
        assert bool((optimizer.state()[name].float().abs() <= 0.5 * value).all())


def test_first_momentum_is_the_gradient() -> None:
    rows, gradients = start()
    optimizer = RowOptimizer(RowOptimizerConfig(weight_decay=0.0), rows)
    optimizer.step(rows, whole(gradients[0]), 0.1)
    assert torch.equal(optimizer.state()["momentum_buffer"], gradients[0])


def test_state_names() -> None:
    rows, _ = start()
    assert set(RowOptimizer(RowOptimizerConfig(), rows).state()) == {"momentum_buffer"}
    assert RowOptimizer(RowOptimizerConfig(momentum=0.0), rows).state() == {}
    adamw_state = RowOptimizer(RowOptimizerConfig(kind="adamw"), rows).state()
    assert {key: value.shape for key, value in adamw_state.items()} == {
        "exp_avg": (13, 7),
        "exp_avg_sq": (13, 7),
        "step": (),
    }


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_multiplier_scales_the_rate(kind: RowOptimizerKind) -> None:
    rows, gradients = start()
    other = rows.clone()
    RowOptimizer(RowOptimizerConfig(kind=kind, lr_multiplier=4.0), rows).step(rows, whole(gradients[0]), 0.1)
    RowOptimizer(RowOptimizerConfig(kind=kind), other).step(other, whole(gradients[0]), 0.4)
    assert torch.equal(rows, other)
    RowOptimizer(RowOptimizerConfig(kind=kind, lr_multiplier=0.0), rows).step(rows, whole(gradients[1]), 0.1)
    assert torch.equal(rows, other)
