"""What the trainer refuses, each with the name of the option."""

import pytest
from pytorch_lightning.strategies import DDPStrategy

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
        {"precision": "16-mixed"},
        {"precision": "bf16-true"},
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


def test_a_strategy_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer.strategy _Other is not supported; it must be auto or one of ddp"):
        FaceTrainer(accelerator="cpu", devices=2, logger=False, strategy=_Other())


class _Other(DDPStrategy):
    """Gradients of a strategy that nobody has looked at may be anything."""


def test_deepspeed_takes_float32_only() -> None:
    with pytest.raises(ConfigError, match=r"trainer.precision bf16-mixed does not work with deepspeed_stage_2"):
        FaceTrainer(accelerator="cpu", devices=2, logger=False, strategy="deepspeed_stage_2", precision="bf16-mixed")
