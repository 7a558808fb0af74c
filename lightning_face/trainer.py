"""Lightning's trainer, with checkpoints that hold the class tables and are whole or absent."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lightning_face.checkpoint.contents import Contents, leaving_nothing
from lightning_face.checkpoint.directory import Description, make_partial
from lightning_face.checkpoint.failures import writing
from lightning_face.checkpoint.saver import Saver, Whole
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.distributed.agreement import any_rank, on_rank_zero
from lightning_face.distributed.slurm import follow_slurm
from lightning_face.distributed.step_agreement import StepAgreement
from lightning_face.engines.choice import check_engine_serves, engine_of, held_weights, make_strategy
from lightning_face.engines.dense import DensePart
from lightning_face.errors import CheckpointError, ConfigError, NonFiniteLossError
from lightning_face.finite import are_finite
from lightning_face.launcher import watch_local_ranks
from lightning_face.objectives.objective import Objective

Kind = TypeVar("Kind", bound=Callback)

_MIXED = ("bf16", "bf16-mixed")
"""Lightning's names for autocast to bfloat16."""


def _nothing() -> None:
    """In place of what Lightning would do."""


def _refuse_what_breaks_the_promises(options: dict[str, Any]) -> None:
    for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"):
        value = options.get(name)
        # 1 is one batch, 1.0 is all of them; 0 switches validation off.
        everything = value is None or (isinstance(value, float) and value == 1.0)
        if not everything and (value != 0 or name == "limit_train_batches"):
            raise ConfigError(
                f"trainer.{name} would leave samples out, got {value}; use trainer.max_steps, or less data"
            )
    for name in ("overfit_batches", "fast_dev_run", "num_sanity_val_steps", "enable_checkpointing"):
        if options.get(name):
            raise ConfigError(f"trainer.{name} is not supported, got {options[name]}; leave it out")
    wanted = options.get("accelerator")
    if wanted in ("gpu", "cuda") and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise ConfigError(
            f"trainer.accelerator is {wanted}, but torch {torch.__version__} finds no GPU here; give"
            " --trainer.accelerator cpu, or look at `nvidia-smi` and at whether this torch was built for CUDA"
        )
    precision = options.get("precision")
    if precision not in (None, 32, "32", "32-true", *_MIXED):
        raise ConfigError(
            f"trainer.precision must be 32-true or bf16-mixed, got {precision}: weights are float32, and float16's"
            " loss scaling would not reach the class tables"
        )


class FaceTrainer(Trainer):
    """Trains a `FaceModule` on a `FaceDataModule`; see pytorch_lightning.Trainer for the arguments.

    Raises:
        ConfigError: an argument that would break the exact order of data, or that the engine cannot serve.
    """

    datamodule: FaceDataModule
    callbacks: list[Callback]
    agreement: StepAgreement
    """What ranks tell one another at each boundary between steps, from the first step to the last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name, needed in {"use_distributed_sampler": False, "reload_dataloaders_every_n_epochs": 0}.items():
            if kwargs.setdefault(name, needed) != needed:
                raise ConfigError(f"trainer.{name} must be {needed}: the order of data is our own; leave it out")
        _refuse_what_breaks_the_promises(kwargs)
        on_cpu = kwargs.get("accelerator") == "cpu" or not torch.cuda.is_available()
        kwargs = follow_slurm(kwargs, None if on_cpu else torch.cuda.device_count())
        name = kwargs.get("strategy", "auto")
        if isinstance(name, str):
            mixed = kwargs.get("precision") in _MIXED
            kwargs["strategy"] = make_strategy(name, on_cpu=on_cpu, mixed=mixed)
        super().__init__(*args, **kwargs)
        self._checkpoint_connector: DensePart = DensePart(self)
        self.saved_options: dict[str, Any] = {}
        self.saver = Saver()
        # Options may come as objects, too.
        if self.precision not in ("32-true", "bf16-mixed"):
            raise ConfigError(f"trainer.precision must be 32-true or bf16-mixed, got {self.precision} from a plugin")
        if any(isinstance(callback, GradientAccumulationScheduler) for callback in self.callbacks):
            raise ConfigError(
                "trainer.callbacks: GradientAccumulationScheduler would change what a step is made of; set"
                " trainer.accumulate_grad_batches"
            )
        self.engine = engine_of(self.strategy)
        check_engine_serves(self.engine, kwargs)
        if isinstance(self.strategy, DDPStrategy):
            # Rank 0's BatchNorm statistics would overwrite the average over ranks that the module keeps.
            self.strategy._ddp_kwargs.setdefault("broadcast_buffers", False)
        watch_local_ranks(self.strategy)
        # Lightning's handler for SIGTERM runs collectives wherever the signal finds a rank, and ranks hang; its check
        # for the signal costs a blocking broadcast every step. See `signals` and `callbacks.preemption` instead.
        self._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
        self.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def _run(self, model: LightningModule, ckpt_path: str | Path | None = None, **kwargs: Any) -> Any:
        # Lightning sets it after `setup`, where the module has to know whether the run goes on.
        self._checkpoint_connector._ckpt_path = ckpt_path
        return super()._run(model, ckpt_path, **kwargs)

    def total_steps(self, data: FaceDataModule) -> int:
        """Optimizer steps of the whole run; Lightning's own estimate would start the data before it is resumed.

        Raises:
            ConfigError: the run has no end.
        """
        epochs = self.max_epochs or 0
        limits = [limit for limit in (self.max_steps, epochs * data.order.steps_per_epoch) if limit > 0]
        if not limits:
            raise ConfigError("the schedule needs the length of the run: set trainer.max_epochs or trainer.max_steps")
        return min(limits)

    def callback(self, kind: type[Kind]) -> Kind:
        """The one of a kind."""
        return next(callback for callback in self.callbacks if isinstance(callback, kind))

    @property
    def run_dir(self) -> Path:
        """Where the run is written."""
        return Path(self.default_root_dir)

    def choose_checkpoint(self, choose: Callable[[], Path | None]) -> None:
        """Have rank 0 choose what all ranks load, once they have met; an error of `choose` ends all of them."""
        self._checkpoint_connector.choose = choose

    @property
    def began_from(self) -> Path | None:
        """The checkpoint that was loaded."""
        return self._checkpoint_connector.chosen

    def newest_whole(self) -> Whole:
        """The newest checkpoint, once the one under way is written or has failed; every rank calls."""
        try:
            self.saver.finish()
        except CheckpointError as error:
            rank_zero_warn(f"{error}")
        return self.saver.newest

    def _check_finite_weights(self, checkpoint: Path) -> None:
        """Never replace a good checkpoint by a broken one; where a rank finds something, all stop here."""
        tensors = [*held_weights(self.lightning_module), *self._objective.state().values()]
        if any_rank(not all(are_finite(tensor) for tensor in tensors)):
            raise NonFiniteLossError(
                f"weights are not finite at step {self.global_step}, {checkpoint.name} is not saved; the checkpoint"
                " before is good; lower the learning rate, or lengthen the warm-up"
            )

    @property
    def _objective(self) -> Objective:
        objective: Objective = self.lightning_module.objective  # type: ignore[assignment]
        return objective

    def save_checkpoint(
        self, filepath: str | Path, weights_only: bool | None = None, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint directory; all ranks call it, between two optimizer steps. See `begin_saving`.

        Args:
            filepath: the directory, a sibling of the run's other checkpoints.
            weights_only: as in Lightning.
            storage_options: none are known.
        """
        self.begin_saving(Path(filepath), weights_only=bool(weights_only))
        self.saver.finish()

    def begin_saving(
        self, final: Path, published: Callable[[], object] = _nothing, *, weights_only: bool = False
    ) -> None:
        """Begin to write a checkpoint directory; all ranks call it, between two optimizer steps.

        What follows does not change what is written. One is written at a time: a former one is waited for.

        Args:
            final: the directory, a sibling of the run's other checkpoints.
            published: called on rank 0, by a thread, once it has its name.
            weights_only: as in Lightning.

        Raises:
            CheckpointError: on every rank, if one cannot write; the checkpoint before stays as it is. Or it is raised
                by `saver.finish`.
            NonFiniteLossError: on every rank, if weights are not finite.
        """
        self._check_finite_weights(final)
        self.saver.finish()
        with leaving_nothing(final):
            on_rank_zero(writing(final)(partial(make_partial, final)))
            dense = self._checkpoint_connector.dump(final, weights_only)
            self.saver.start(final, self._contents(dense), published)

    def _contents(self, dense: dict[str, Any] | None) -> Contents:
        held, tables = self._objective.held(), self._objective.state()
        own = tables if self.is_global_zero else {name: tables[name] for name in held}
        described = Description(
            step=self.global_step,
            position=self.datamodule.position.state(),
            tables=self._objective.shapes(),
            options=self.saved_options,
            engine=self.engine,
            num_ranks=self.world_size,
            files={},
        )
        dense = dense if self.is_global_zero else None
        return Contents(dense, own, held, self.datamodule.identities_file, described)
