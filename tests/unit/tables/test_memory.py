"""Tables that memory cannot hold are refused before anything is allocated, with the number of ranks that would do."""

from functools import partial

import pytest
import torch

from lightning_face.errors import ConfigError
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.optim.rows import RowOptimizerConfig
from lightning_face.tables import memory
from lightning_face.tables.memory import TablePlan, bytes_per_class, check_memory
from lightning_face.tables.placement import Placement

CPU = torch.device("cpu")
SHARDED = [TablePlan("classifier", "A", True, 400), TablePlan("centers", "B", True, 200)]
REPLICATED = [TablePlan("classifier", "A", True, 400), TablePlan("centers", "B", False, 200)]


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be rank 0 of several, with a host for each, and the bytes that tables may take: 80 % of the free."""

    def pretend(*hosts_and_free: tuple[str, float]) -> None:
        everywhere = [((host, "cpu"), 1.25 * free) for host, free in hosts_and_free]
        monkeypatch.setattr(memory, "gather_objects", lambda own: everywhere)
        monkeypatch.setattr(memory, "world_size", lambda: len(everywhere))

    return pretend


@pytest.mark.parametrize(
    "kind, momentum, numbers", [("sgd", 0.9, 2), ("sgd", 0.0, 1), ("adamw", 0.9, 3), (None, None, 1)]
)
def test_bytes_per_class_are_those_of_the_rows_and_their_state(kind, momentum, numbers) -> None:
    optimizer = None if kind is None else RowOptimizerConfig(kind=kind, momentum=momentum)
    assert bytes_per_class(512, optimizer) == numbers * 512 * 4


@pytest.mark.parametrize("rows_per_class", [1, 3])
@pytest.mark.parametrize(
    ("placement", "mode", "buffered"),
    [("sharded", "A", ()), ("replicated", "A", ("classifier",)), ("sharded", "B", ("centers",))],
)
def test_plan_counts_what_an_objective_holds(ranks, placement: Placement, mode, buffered, rows_per_class: int) -> None:
    """The tables, the gradient of a replicated classifier, and that of all centers where MML moves them all."""
    moves_all = {"mode": "B", "center_rate": 0.1, "scope": "all"} if mode == "B" else {}
    config = ObjectiveConfig(
        SoftmaxConfig(placement=placement, rows_per_class=rows_per_class),
        CenterConfig(placement=placement),
        MinimumMarginConfig(**moves_all),
    )
    make = partial(Objective, config, num_classes=7, dim=12, seed=1, device=CPU)
    state = make().state()
    held = sum(tensor.nbytes for tensor in state.values() if tensor.ndim) + sum(state[name].nbytes for name in buffered)
    ranks(("a", held - 1))
    with pytest.raises(ConfigError, match="7 classes need"):
        make()
    ranks(("a", held))
    make()


def test_one_rank_too_few_is_told_how_many_would_do(ranks) -> None:
    ranks(("a", 20_100))  # 33 classes of 600 bytes each: 100 classes need 4 such ranks
    with pytest.raises(ConfigError) as refused:
        check_memory(SHARDED, 100, CPU)
    assert "use 4 ranks with as much memory each instead of 1" in str(refused.value)
    assert "\n" not in str(refused.value)
    ranks(*[(host, 20_100) for host in "abcd"])
    check_memory(SHARDED, 100, CPU)
    ranks(*[(host, 20_100) for host in "abc"])
    with pytest.raises(ConfigError, match="use 4 ranks"):
        check_memory(SHARDED, 100, CPU)


def test_sharding_is_enough_where_it_is(ranks) -> None:
    ranks(("a", 35_000), ("b", 35_000))  # sharded: 30,000; with replicated centers: 40,000
    with pytest.raises(ConfigError) as refused:
        check_memory(REPLICATED, 100, CPU)
    assert str(refused.value).endswith(": set B: sharded")
    check_memory(SHARDED, 100, CPU)


def test_what_a_replicated_table_takes_besides_is_not_counted_once_it_is_sharded(ranks) -> None:
    replicated = [TablePlan("classifier", "A", False, 400, more_if_replicated=200)]
    ranks(("a", 59_000))
    with pytest.raises(ConfigError) as refused:
        check_memory(replicated, 100, CPU)
    assert str(refused.value).endswith(": set A: sharded")
    ranks(("a", 60_000))
    check_memory(replicated, 100, CPU)


def test_ranks_of_one_node_share_its_memory(ranks) -> None:
    ranks(("a", 60_000), ("a", 60_000))
    check_memory(SHARDED, 100, CPU)
    ranks(("a", 59_000), ("a", 59_000))
    with pytest.raises(ConfigError):
        check_memory(SHARDED, 100, CPU)


def test_the_poorest_rank_decides(ranks) -> None:
    ranks(("a", 1e9), ("b", 29_000))
    with pytest.raises(ConfigError):
        check_memory(SHARDED, 100, CPU)


@pytest.mark.parametrize(
    ("placement", "total", "classifier"),
    [
        ("replicated", "4,098,000", "3,072,000"),
        ("sharded", "3,074,000", "2,048,000"),
        ("auto", "3,074,000", "2,048,000"),
    ],
)
def test_real_memory_is_less_than_a_petabyte(placement: Placement, total: str, classifier: str) -> None:
    config = ObjectiveConfig(
        SoftmaxConfig(placement=placement), CenterConfig(placement=placement), MinimumMarginConfig()
    )
    with pytest.raises(ConfigError, match=f"need {total}.00 GB .*classifier {classifier}.00 GB, centers 1,026,000"):
        Objective(config, num_classes=500_000_000_000, dim=512, seed=1, device=CPU)
