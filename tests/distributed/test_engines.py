"""Promises P1, P5 and P6: under every engine, ranks end where one process and a plain loop over the equations end."""

from functools import partial
from pathlib import Path
from typing import Any

import deepspeed
import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from torch import Tensor
from torch.distributed.tensor import DTensor

from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.checkpoint.directory import DENSE_FILE, checkpoints_of, name_of
from lightning_face.data.augment import augment, normalise
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.data.faces import BatchRequest
from lightning_face.distributed.world import world_size
from lightning_face.engines.choice import held_weights
from lightning_face.engines.zero import ZeroStrategy
from lightning_face.module import BackboneConfig, FaceModule
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective, ObjectiveConfig
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.optim.schedules import Schedule
from lightning_face.tables.placement import Placement
from lightning_face.trainer import FaceTrainer
from tests.oracle import Oracle, assert_close
from tests.ranks import run_ranks, torchrun

NUM_STEPS, ACCUMULATION, GLOBAL_BATCH = 4, 2, 24
CLIP_NORM, LEARNING_RATE = 0.5, 0.2
SCHEDULE = Schedule(warmup_steps=1)  # the rate differs from step to step


def make_objective(placement: Placement) -> ObjectiveConfig:
    return ObjectiveConfig(
        SoftmaxConfig(init_std=0.1, placement=placement),
        CenterConfig(weight=0.1, init_std=0.1, placement=placement),
        MinimumMarginConfig(weight=0.01, margin=4.0),
    )


OBJECTIVE = make_objective("replicated")


class GradientNorms(Callback):
    """Norm of the whole gradient before each step is clipped; DeepSpeed keeps it to itself."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: FaceModule, optimizer: Any) -> None:
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.norms.append(float(norm.full_tensor() if isinstance(norm, DTensor) else norm))


class Losses(Callback):
    """The loss of each micro-batch, as logged."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss"]))


def fit(
    dataset: Path, run_dir: Path, engine: str = "ddp", placement: Placement = "replicated", resume: int | None = None
) -> dict[str, Any]:
    """Train on this rank; the harness has made the process group, Lightning finds it."""
    with torchrun():
        return _fit(dataset, run_dir, engine, placement, resume)


def make_data(dataset: Path) -> FaceDataModule:
    return FaceDataModule(str(dataset), global_batch_size=GLOBAL_BATCH, image_size=32, num_workers=0, seed=3)


def make_module(data: FaceDataModule, placement: Placement = "replicated") -> FaceModule:
    torch.manual_seed(11)
    module = FaceModule(
        data.num_classes,
        image_size=32,
        backbone=BackboneConfig("test_convnext", embedding_dim=16, neck="linear"),
        objective=make_objective(placement),
        optimizer=partial(torch.optim.SGD, lr=LEARNING_RATE, momentum=0.9, weight_decay=5e-4),
        schedule=SCHEDULE,
        seed=3,
    )
    for name, parameter in module.backbone.named_parameters():
        if name.endswith("gamma"):
            # Layer scale starts at 1e-6: most of the network would hardly train, and the test would not see it.
            torch.nn.init.ones_(parameter)
    return module


def _fit(dataset: Path, run_dir: Path, engine: str, placement: Placement, resume: int | None) -> dict[str, Any]:
    data = make_data(dataset)
    module = make_module(data, placement)
    norms, losses = GradientNorms(), Losses()
    trainer = FaceTrainer(
        accelerator="cpu",
        devices=world_size(),
        strategy=engine,
        plugins=[TorchElasticEnvironment()],
        max_steps=NUM_STEPS,
        accumulate_grad_batches=ACCUMULATION,
        gradient_clip_val=CLIP_NORM,
        callbacks=[norms, losses, Checkpointing(every_n_steps=2, keep=9)],
        default_root_dir=run_dir,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if engine == "deepspeed_stage_3":
        # By default it shares out large tensors only, which this network has none of.
        trainer.strategy.config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    checkpoint = None if resume is None else checkpoints_of(run_dir) / name_of(resume) / DENSE_FILE
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    assert trainer.global_step == NUM_STEPS
    assert trainer.world_size == world_size()
    return {
        "backbone": whole_weights(module.backbone),
        "held": numbers_held(trainer, module),
        "tables": module.objective.state(),
        "shared": list(module.objective.held()),
        "norms": norms.norms,
        "losses": losses.values,
    }


def whole_weights(backbone: torch.nn.Module) -> dict[str, Tensor]:
    """All weights, wherever the engine keeps them."""
    with deepspeed.zero.GatheredParameters(list(backbone.parameters())):
        return {
            name: (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()
            for name, value in backbone.state_dict().items()
        }


def numbers_held(trainer: FaceTrainer, module: FaceModule) -> dict[str, int]:
    """How many numbers of the parameters, and of the momentum, this rank holds."""
    engine = trainer.strategy
    if isinstance(engine, ZeroStrategy) and engine.stage < 3:
        momentum = sum(part.numel() for part in engine.deepspeed_engine.optimizer.single_partition_of_fp32_groups)
    elif isinstance(engine, ZeroStrategy):
        momentum = sum(part.numel() for part in engine.deepspeed_engine.optimizer.fp32_partitioned_groups_flat)
    else:
        states = trainer.optimizers[0].state.values()
        momentum = sum(
            buffer.to_local().numel() if isinstance(buffer, DTensor) else buffer.numel()
            for buffer in (state["momentum_buffer"] for state in states)
        )
    parameters = sum(held.numel() for held in held_weights(module.backbone))
    return {"parameters": parameters, "momentum": momentum}


def plain_loop(dataset: Path) -> dict[str, Any]:
    """The run without Lightning, without ranks, and with the loops over samples and pairs as the objective."""
    data = make_data(dataset)
    backbone = make_module(data).backbone
    tables = Objective(OBJECTIVE, num_classes=data.num_classes, dim=16, seed=3, device=torch.device("cpu")).state()
    oracle = Oracle(OBJECTIVE, tables["centers"], tables["classifier"])
    weights = [parameter for parameter in backbone.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in backbone.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": 5e-4}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=0.9)
    losses = []
    for step in range(NUM_STEPS):
        (ids,) = data.order.sample_ids(0, step, 1, range(GLOBAL_BATCH))
        batch = data.faces[BatchRequest(0, step, ids)]
        images = augment(normalise(batch.images_BHWC, 32), batch.draws_BK, data.augment)
        features, labels = backbone(images), batch.labels_B
        rate = LEARNING_RATE * SCHEDULE.factor(step, total_steps=NUM_STEPS)
        micro_batches = zip(features.detach().chunk(ACCUMULATION), labels.chunk(ACCUMULATION), strict=True)
        result = oracle.step(list(micro_batches), rate)
        losses += result.totals
        optimizer.zero_grad()
        features.backward(torch.cat(result.feature_gradients).float())
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), CLIP_NORM)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    tables = {**oracle.centers_state(), "classifier": oracle.classifier.detach()}
    return {
        "backbone": {name: value.detach() for name, value in backbone.state_dict().items()},
        "tables": tables | {f"classifier.{name}": value for name, value in oracle.momentum().items()},
        "losses": losses,
    }


@pytest.fixture(scope="module")
def run_on_one(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    (result,) = run_ranks(fit, 1, tiny_dataset, tmp_path_factory.mktemp("run"))
    return result


def assert_all_close(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert_close(actual[name], value)


def assert_all_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_every_step_is_clipped(run_on_one: dict[str, Any]) -> None:
    """Else the runs below could not tell whether the norm that clips is that of all ranks."""
    assert len(run_on_one["norms"]) == NUM_STEPS
    assert min(run_on_one["norms"]) > CLIP_NORM


def test_one_process_ends_where_a_plain_loop_ends(run_on_one: dict[str, Any], tiny_dataset: Path) -> None:
    (expected,) = run_ranks(plain_loop, 1, tiny_dataset)
    assert_all_close(run_on_one["backbone"], expected["backbone"])
    assert_all_close(run_on_one["tables"], expected["tables"])
    assert run_on_one["losses"] == pytest.approx(expected["losses"], rel=1e-5)


def assert_ends_like(results: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    """All ranks together end where one process ends."""
    shared = results[0]["shared"]
    whole = {
        name: torch.cat([result["tables"][name] for result in results]) if name in shared else value
        for name, value in results[0]["tables"].items()
    }
    assert_all_close(whole, expected["tables"])
    for result in results:
        assert_all_close(result["backbone"], expected["backbone"])
        assert result["losses"] == pytest.approx(expected["losses"], rel=1e-5)
        assert_all_equal(result["backbone"], results[0]["backbone"])


@pytest.mark.parametrize(
    ("placement", "num_ranks"), [("replicated", 2), ("replicated", 4), ("sharded", 2), ("sharded", 3)]
)
def test_ddp_ends_where_one_process_ends(
    placement: Placement, num_ranks: int, run_on_one: dict[str, Any], tiny_dataset: Path, tmp_path: Path
) -> None:
    results = run_ranks(fit, num_ranks, tiny_dataset, tmp_path, "ddp", placement)
    assert_ends_like(results, run_on_one)
    for result in results:
        assert result["norms"] == pytest.approx(run_on_one["norms"], rel=1e-5)
        if placement == "replicated":
            assert_all_equal(result["tables"], results[0]["tables"])


@pytest.mark.parametrize("engine", ["fsdp2", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3"])
def test_every_engine_ends_where_one_process_ends_and_resumes_bit_for_bit(
    engine: str, run_on_one: dict[str, Any], tiny_dataset: Path, tmp_path: Path
) -> None:
    """In new processes, as users resume: DeepSpeed keeps the groups of a former run, and last bits depend on it.

    DDP is killed and resumed in tests/e2e/test_resume.py.
    """
    results = run_ranks(fit, 2, tiny_dataset, tmp_path, engine, "sharded", fresh=True)
    assert_ends_like(results, run_on_one)
    assert_partitioned(engine, [result["held"] for result in results], run_on_one["held"])
    resumed = run_ranks(fit, 2, tiny_dataset, tmp_path, engine, "sharded", 2, fresh=True)
    for before, after in zip(results, resumed, strict=True):
        assert after["losses"] == before["losses"][2 * ACCUMULATION :]
        assert_all_equal(after["backbone"], before["backbone"])
        assert_all_equal(after["tables"], before["tables"])


def assert_partitioned(engine: str, held: list[dict[str, int]], whole: dict[str, int]) -> None:
    """Each rank has about its half of what the engine says it shares out; parts are padded to equal lengths."""
    shared = {
        "deepspeed_stage_1": {"momentum"},
        "deepspeed_stage_2": {"momentum"},
        "deepspeed_stage_3": {"momentum", "parameters"},
        "fsdp2": {"momentum", "parameters"},
    }[engine]
    for name in whole:
        for own in held:
            share = own[name] / whole[name]
            assert 0.45 < share < 0.55 if name in shared else share == 1, (engine, name, share)


@pytest.mark.parametrize(
    ("saved_by", "saved_on", "engine", "num_ranks"),
    [
        ("ddp", 2, "fsdp2", 3),
        ("fsdp2", 2, "ddp", 1),
        ("fsdp2", 3, "fsdp2", 2),
    ],
)
def test_ddp_and_fsdp2_load_each_other(
    saved_by: str,
    saved_on: int,
    engine: str,
    num_ranks: int,
    run_on_one: dict[str, Any],
    tiny_dataset: Path,
    tmp_path: Path,
) -> None:
    run_ranks(fit, saved_on, tiny_dataset, tmp_path, saved_by, "sharded")
    results = run_ranks(fit, num_ranks, tiny_dataset, tmp_path, engine, "sharded", 2)
    assert_ends_like(results, {**run_on_one, "losses": run_on_one["losses"][2 * ACCUMULATION :]})
