"""Class tables and losses over pairs on one GPU, by the bodies of the tests of many ranks: there they run on CPUs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from lightning_face.distributed import collectives
from lightning_face.losses import at_once
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import Mode
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.optim.row_config import RowOptimizerConfig, RowOptimizerKind
from lightning_face.tables.placement import Placement
from tests.distributed import test_minimum_margin_scopes as scopes
from tests.distributed import test_pair_losses as pair_losses
from tests.distributed import test_sampled_softmax as sampled
from tests.distributed import test_world_size_invariance as invariance
from tests.oracle import assert_close

NEEDS_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ON_CUDA = pytest.param("cuda", "nccl", marks=NEEDS_CUDA)
ON_BOTH = pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ON_CUDA])


@pytest.fixture
def group(device: str, backend: str, tmp_path: Path) -> Iterator[torch.device]:
    """The device, in a process group of one rank."""
    if device == "cuda":
        torch.cuda.set_device(0)
    dist.init_process_group(backend, init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    yield torch.device(device)
    dist.destroy_process_group()


@pytest.fixture(autouse=True)
def chunks_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bodies set them for a process of their own."""
    for name in ("NUMBERS_ON_CPU", "NUMBERS_ON_GPU"):
        monkeypatch.setattr(at_once, name, getattr(at_once, name))


@pytest.mark.parametrize(("device", "backend"), [ON_CUDA])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("mode", ["A", "B", "C"])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_all_terms(
    group: torch.device, placement: Placement, mode: Mode, kind: RowOptimizerKind, accumulation: int
) -> None:
    config = invariance.make_config(mode, kind, placement)
    result = invariance.train(config, "uneven", accumulation, device=group.type)
    invariance.assert_equals_oracle([result], *invariance.oracle_of(mode, kind, "uneven", accumulation), placement)


@pytest.mark.parametrize(("device", "backend"), [ON_CUDA])
@pytest.mark.parametrize("placement", ["replicated", "sharded"])
def test_every_scope_of_mml(group: torch.device, placement: Placement) -> None:
    for case in scopes.CASES:
        (outcome,) = scopes.train([(case, placement)], device=group.type)
        scopes.assert_equals_oracle(case, placement, [outcome])


@pytest.mark.parametrize(("device", "backend"), [ON_CUDA])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("name", sampled.CASES)
def test_sampled_softmax(group: torch.device, name: str, kind: RowOptimizerKind) -> None:
    result = sampled.train(sampled.CASES[name], kind, 2, device=group.type)
    sampled.assert_equals_oracle(name, kind, 2, [result])


@ON_BOTH
@pytest.mark.parametrize("sample_rate", [1.0, 0.5])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_state_in_bfloat16(group: torch.device, kind: RowOptimizerKind, sample_rate: float) -> None:
    """A first step moves the rows as with state in float32 on the CPU; the state is that, rounded."""
    precise = RowOptimizerConfig(kind=kind, betas=(0.9, 0.99) if kind == "adamw" else (0.9, 0.999))
    expected = _state_after_a_step(precise, sample_rate, torch.device("cpu"))
    state = _state_after_a_step(replace(precise, state_dtype="bfloat16"), sample_rate, group)
    for name, value in expected.items():
        assert_close(state[name], value, 2**-8 if state[name].dtype == torch.bfloat16 else 1e-5)
    assert sum(value.dtype == torch.bfloat16 for value in state.values()) == (1 if kind == "sgd" else 2)


def _state_after_a_step(optimizer: RowOptimizerConfig, sample_rate: float, device: torch.device) -> dict[str, Tensor]:
    softmax = SoftmaxConfig(placement="sharded", sample_rate=sample_rate, init_std=0.5, optimizer=optimizer)
    config = ObjectiveConfig(softmax, CenterConfig(placement="sharded"))
    objective = Objective(config, num_classes=50, dim=16, seed=3, device=device)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn((24, 16), generator=generator).to(device).requires_grad_()
    objective(features, torch.randint(0, 50, (24,), generator=generator).to(device)).total.backward()
    assert objective.what_is_not_finite([]) is None
    objective.step(0.1)
    return objective.state()


@ON_BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64])
def test_the_backend_knows_every_collective_of_the_tables(group: torch.device, dtype: torch.dtype) -> None:
    """One rank skips them: here they are called."""
    rows = torch.arange(6, dtype=dtype, device=group).view(3, 2)
    for operation in (dist.ReduceOp.SUM, dist.ReduceOp.MAX, dist.ReduceOp.MIN):
        reduced = rows.clone()
        dist.all_reduce(reduced, operation)
        assert torch.equal(reduced, rows)
    for collective in (collectives._all_gather, collectives._reduce_scatter):
        moved = torch.zeros_like(rows)
        collective(moved, rows)
        assert torch.equal(moved, rows)


@pytest.mark.parametrize(("device", "backend"), [ON_CUDA])
def test_losses_over_pairs(group: torch.device) -> None:
    pair_losses.assert_equal_oracle([pair_losses.losses_of_rank(group.type)])
