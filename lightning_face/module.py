"""The LightningModule: images -> backbone -> features -> objective, and the order in which everything steps."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from lightning_face.checkpoint.directory import describe
from lightning_face.checkpoint.exported import Exported
from lightning_face.checkpoint.failures import reading
from lightning_face.checkpoint.progress import rebuilt_fit_loop
from lightning_face.checkpoint.tables import check_shapes, load_tables
from lightning_face.checkpoint.transfer import Transfer
from lightning_face.data.faces import FaceBatch
from lightning_face.distributed.agreement import check_same_on_all_ranks, gather_objects, on_every_rank
from lightning_face.distributed.batchnorm import average_batchnorm_statistics
from lightning_face.engines.choice import held_gradients, held_weights
from lightning_face.engines.fully_sharded import FullyShardedStrategy
from lightning_face.engines.zero import ZeroStrategy
from lightning_face.errors import NonFiniteLossError
from lightning_face.hashing import seed_of
from lightning_face.models import BackboneConfig, build_backbone
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.objective import Objective
from lightning_face.optim.averaging import check_decay, move_average
from lightning_face.optim.schedules import Schedule
from lightning_face.tables.block import own_classes
from lightning_face.trainer import FaceTrainer


def _sgd(parameters: Any) -> Optimizer:
    """The field's default: SGD with momentum."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)


class FaceModule(LightningModule):
    """Trains face embeddings.

    Args:
        num_classes: identities; taken from the data.
        image_size: side of the input, pixels; taken from the data.
        backbone: the network.
        objective: the terms of the loss and their class tables.
        optimizer: of the backbone; biases and norms are not decayed.
        schedule: of the learning rate, for backbone and classifier.
        seed: of initial rows and dropout; taken from `seed_everything`.
        init_from: file that `python -m lightning_face export` wrote, to begin with its network and with the rows of
            those identities, found by name, that it has class tables for; a run that goes on does not read it again.
        channels: of the input; taken from the data.
        average_decay: how much of an exponential moving average of the network's numbers stays at each step, e.g.
            0.999; whatever is evaluated or exported is the average. null keeps none. Class tables are not averaged.
    """

    trainer: FaceTrainer

    def __init__(
        self,
        num_classes: int,
        image_size: int = 112,
        backbone: BackboneConfig = BackboneConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),
        optimizer: OptimizerCallable = _sgd,
        schedule: Schedule = Schedule(),
        seed: int = 0,
        init_from: str | None = None,
        channels: int = 3,
        average_decay: float | None = None,
    ) -> None:
        super().__init__()
        check_decay(average_decay)
        self.num_classes = num_classes
        self.seed = seed
        self.init_from = init_from
        self.objective_config = objective
        self.make_optimizer: Callable[[Any], Optimizer] = optimizer
        self._schedule = schedule
        fields = asdict(backbone)
        channels_last = fields.pop("channels_last")
        self.backbone_name = backbone.name
        self.backbone = build_backbone(image_size=image_size, in_channels=channels, **fields)
        if channels_last:
            self.backbone.to(memory_format=torch.channels_last)
        self.average_decay = average_decay
        self.averaged = deepcopy(self.backbone).requires_grad_(False) if average_decay is not None else None
        """A second network, which moves to where the first one is; saved, loaded and shared out like that one."""
        self.objective: Objective
        self.num_replaced = 0
        self.when_not_finite: Callable[[str], None] = self.stop
        """Called on every rank with what is not finite; raises, or has the step left out."""
        self._is_left_out = False

    def setup(self, stage: str) -> None:
        """Make the class tables: after the process group exists, before the engine wraps the module."""
        if self._needs_tables(stage):
            self._make_tables()
        if stage == "fit":
            self._set_up_training()

    def _needs_tables(self, stage: str | None) -> bool:
        """Training moves the class tables, and identification compares with them."""
        identifies = stage in ("validate", "test") and bool(self.trainer.datamodule.identification)
        return stage == "fit" or identifies

    def _make_tables(self) -> None:
        data = self.trainer.datamodule
        check_same_on_all_ranks({"training data": data.position.manifest_hash})
        # Containers of GPU vendors preset TF32: 10 bits of the distances between centers would be left.
        torch.set_float32_matmul_precision("highest")
        self.objective = Objective(
            self.objective_config,
            num_classes=self.num_classes,
            dim=self.backbone.embedding_dim,
            seed=self.seed,
            device=self.trainer.strategy.root_device,
            class_counts_C=data.faces.class_counts(),
        )

    def _set_up_training(self) -> None:
        no_sums = [name for name in self.objective_config.terms if name not in ("softmax", "center")]
        if no_sums and self.trainer.accumulate_grad_batches > 1:
            rank_zero_info(f"no sums over samples, so of each micro-batch alone: {', '.join(no_sums)}")
        if self.init_from is not None and self.trainer.ckpt_path is None:
            path = Path(self.init_from)
            exported, num_found = on_every_rank(reading(path)(partial(self._begin_with, path)))
            check_same_on_all_ranks({"file of model.init_from": f"{path.stat().st_size} bytes, {exported.origin}"})
            rank_zero_info(
                f"beginning with {path}: its network, and of {', '.join(exported.tables) or 'no class tables'} the rows"
                f" of {sum(gather_objects(num_found)):,} of {self.num_classes:,} identities"
            )

    def _begin_with(self, path: Path) -> tuple[Exported, int]:
        """Take over what the file knows; the file, and how many of this rank's own classes it has."""
        exported, data = Exported(path), self.trainer.datamodule
        exported.load_into(self.backbone)
        transfer = Transfer(exported, data.faces.shards.identities(), data.position.manifest_hash)
        transfer.copy(self.objective.state(), self.objective.held())
        return exported, len(transfer.find(own_classes(self.num_classes))[0])

    def configure_model(self) -> None:
        """Let the engine share the backbone out."""
        if isinstance(self.trainer.strategy, FullyShardedStrategy | ZeroStrategy):
            self.trainer.strategy.prepare(self.backbone)
            if self.averaged is not None:
                self.trainer.strategy.prepare(self.averaged)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Features (B, D) of normalised images."""
        return self.backbone(images_BCHW)

    def training_step(self, inputs: tuple[FaceBatch, Tensor], batch_idx: int) -> Tensor:
        """Loss of one micro-batch."""
        batch, images = inputs
        expected = (self.trainer.current_epoch, batch_idx)
        if (batch.epoch, batch.micro_step) != expected:
            raise AssertionError(f"batch {(batch.epoch, batch.micro_step)} arrived where {expected} is due")
        torch.manual_seed(seed_of(self.seed, "dropout", batch.epoch, batch_idx, self.global_rank))
        loss = self.objective(
            self(images),
            batch.labels_B,
            accumulation=self.trainer.accumulate_grad_batches,
            noise_B=batch.noise_B,
        )
        self.num_replaced += batch.num_replaced
        values = {f"train/{name}": value for name, value in {**loss.terms, **loss.facts}.items()}
        self.log("train/loss", loss.total.detach(), prog_bar=True)
        self.log_dict(values)
        return loss.total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave a step out whose loss or gradient is not finite, on all ranks, before weights or tables move."""
        found = self.objective.what_is_not_finite(held_gradients(self.backbone))
        self._is_left_out = found is not None
        if found is not None:
            self.when_not_finite(f"{found} at step {self.global_step} (epoch {self.trainer.current_epoch})")
            optimizer.zero_grad()  # what has no gradient does not move
            self.objective.forget()

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Step the engine, then the tables with the learning rate that it used, then remember the position."""
        learning_rate = optimizer.param_groups[0]["lr"]
        # DeepSpeed accumulates by itself, and is called for every micro-batch.
        is_accumulating = self.trainer.fit_loop._should_accumulate()
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if is_accumulating:
            return
        if not self._is_left_out:
            self.objective.step(learning_rate)
            average_batchnorm_statistics(self.backbone)
            self._move_average()
        self.log("train/learning_rate", learning_rate)
        self.trainer.datamodule.mark_trained(epoch, batch_idx // self.trainer.accumulate_grad_batches)

    def _move_average(self) -> None:
        if self.averaged is not None and self.average_decay is not None:
            newest = held_weights(self.backbone)
            move_average(held_weights(self.averaged), newest, self.average_decay, self.trainer.global_step)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Count steps for the loggers: Lightning counts one more if it resumes where a validation may be due."""
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.trainer.global_step

    def on_train_epoch_end(self) -> None:
        """Report the epoch's images that could not be decoded."""
        self.log("data/replaced", float(self.num_replaced), reduce_fx="sum", sync_dist=True)
        self.num_replaced = 0

    def validation_step(self, inputs: tuple[FaceBatch, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Features of images and of their mirror images, (B, 2, D) float32."""
        _, images = inputs
        network = self if self.averaged is None else self.averaged
        return torch.stack([network(images), network(images.flip(3))], dim=1).float()

    test_step = validation_step
    predict_step = validation_step

    def configure_optimizers(self) -> Any:
        """The optimizer over two groups, and the schedule stepped with it."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in parameters if parameter.ndim > 1]
        others = [parameter for parameter in parameters if parameter.ndim <= 1]
        optimizer = self.make_optimizer([{"params": decayed}, {"params": others, "weight_decay": 0.0}])
        scheduler = self._schedule.build(optimizer, self.trainer.total_steps(self.trainer.datamodule))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the class tables beside the dense file, and put Lightning's counters where the data stands."""
        if self.trainer.ckpt_path is None:
            return
        if self._needs_tables(self.trainer.state.fn):
            self.load_tables(Path(self.trainer.ckpt_path).parent)
        if self.trainer.state.fn != "fit":
            return
        # Lightning restores the data after the model: its position is not there yet.
        data = self.trainer.datamodule
        position = data.position.resumed_from(checkpoint[type(data).__qualname__])
        checkpoint["loops"]["fit_loop"] = rebuilt_fit_loop(
            checkpoint["loops"]["fit_loop"],
            epoch=position.epoch,
            step_in_epoch=position.step_in_epoch,
            steps_per_epoch=data.order.steps_per_epoch,
            accumulation=self.trainer.accumulate_grad_batches,
        )

    def load_tables(self, checkpoint: Path) -> None:
        """Load the class tables of a checkpoint; every rank calls.

        Raises:
            CheckpointError: on every rank, if one cannot read them, or they are not those of this run.
        """
        on_every_rank(reading(checkpoint)(partial(self._load_tables, checkpoint)))

    def _load_tables(self, checkpoint: Path) -> None:
        description = describe(checkpoint)
        check_shapes(description.tables, self.objective.shapes(), str(checkpoint))
        load_tables(checkpoint, description.files, self.objective.state(), self.objective.held())

    def stop(self, what: str) -> NoReturn:
        """End the run before anything moves; every rank calls.

        Raises:
            NonFiniteLossError: always.
        """
        last = self.trainer.newest_whole().checkpoint
        raise NonFiniteLossError(
            f"{what}; last good checkpoint: {last or 'none'}; lower the learning rate or the weight of that term, or"
            " lengthen the warm-up"
        )
