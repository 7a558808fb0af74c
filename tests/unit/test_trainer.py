"""What the trainer refuses, each with the name of the option."""

import pytest
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.plugins import HalfPrecision
from pytorch_lightning.strategies import DDPStrategy

from lightning_face.engines.choice import ENGINES
from lightning_face.errors import ConfigError
from lightning_face.trainer import FaceTrainer


@pytest.mark.parametrize(
    "options",
    [
        {"limit_train_batches": 1},  # one batch; 1.0 would be all
        {"limit_train_batches": 0},
        {"limit_val_batches": 1},
        {"limit_test_batches": 0.5},
        {"overfit_batches": 2},
        {"fast_dev_run": True},
        {"num_sanity_val_steps": 2},
        {"strategy": "fsdp"},  # the older one; ours is fsdp2
        {"use_distributed_sampler": True},
        {"reload_dataloaders_every_n_epochs": 1},
    ],
    ids=lambda options: "-".join(map(str, next(iter(options.items())))),
)
def test_refused(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=f"trainer.{name}"):
        FaceTrainer(accelerator="cpu", logger=False, **options)


@pytest.mark.parametrize(
    "options", [{"limit_val_batches": 0}, {"limit_train_batches": 1.0}, {"precision": "bf16-mixed"}]
)
def test_allowed(options: dict[str, object]) -> None:
    (name,) = options
    trainer = FaceTrainer(accelerator="cpu", logger=False, enable_checkpointing=False, **options)
    assert getattr(trainer, name) == options[name]


@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_gpu_where_there_is_none(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"trainer.accelerator is {accelerator}, but torch .* finds no GPU here"):
        FaceTrainer(accelerator=accelerator, devices=2, logger=False)


def test_a_strategy_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer.strategy _Other is not supported; it must be auto or one of ddp"):
        FaceTrainer(accelerator="cpu", devices=2, logger=False, strategy=_Other())


class _Other(DDPStrategy):
    """Gradients of a strategy that nobody has looked at may be anything."""


@pytest.mark.parametrize("engine", ["ddp", "fsdp2", "deepspeed_stage_3"])
@pytest.mark.parametrize("precision", ["16-mixed", "16-true", "bf16-true", "64-true", 16])
def test_other_precisions_are_refused_under_every_engine(precision: str | int, engine: str) -> None:
    expected = f"trainer.precision must be 32-true or bf16-mixed, got {precision}"
    with pytest.raises(ConfigError, match=expected):
        FaceTrainer(accelerator="cpu", devices=2, logger=False, strategy=engine, precision=precision)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_takes_bf16_mixed(engine: str) -> None:
    trainer = FaceTrainer(accelerator="cpu", devices=2, logger=False, strategy=engine, precision="bf16-mixed")
    assert (trainer.engine, trainer.precision) == (engine, "bf16-mixed")


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("fsdp2", {"sync_batchnorm": True}),
        ("deepspeed_stage_1", {"sync_batchnorm": True}),
        ("deepspeed_stage_2", {"gradient_clip_algorithm": "value", "gradient_clip_val": 1.0}),
    ],
)
def test_what_the_engine_cannot_serve_is_refused(engine: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"trainer\.{next(iter(options))} .*with {engine}"):
        FaceTrainer(accelerator="cpu", devices=2, logger=False, strategy=engine, **options)


def test_what_is_refused_as_an_option_is_refused_as_an_object() -> None:
    plugin = HalfPrecision("bf16-true")
    with pytest.raises(ConfigError, match="precision must be 32-true or bf16-mixed, got bf16-true from a plugin"):
        FaceTrainer(accelerator="cpu", logger=False, plugins=[plugin])
    with pytest.raises(ConfigError, match=r"trainer.callbacks: .* set trainer.accumulate_grad_batches"):
        FaceTrainer(accelerator="cpu", logger=False, callbacks=[GradientAccumulationScheduler({0: 1, 1: 2})])
