"""The command line: LightningCLI with the trainer's defaults, the links between data and model, and run folders."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightning_face import attempts
from lightning_face.callbacks.attempts import Attempts
from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.callbacks.identification import Identification
from lightning_face.callbacks.non_finite import NonFinite
from lightning_face.callbacks.plots import Plots
from lightning_face.callbacks.predictions import Predictions
from lightning_face.callbacks.preemption import Preemption
from lightning_face.callbacks.result import Result
from lightning_face.callbacks.summary import Summary
from lightning_face.callbacks.triplet_mining import TripletMining
from lightning_face.callbacks.verification import Verification
from lightning_face.callbacks.watchdog import Watchdog
from lightning_face.checkpoint.choice import best_intact, check_intact, last_intact
from lightning_face.checkpoint.directory import DENSE_FILE, describe, list_checkpoints, name_of
from lightning_face.checkpoint.exported import Exported
from lightning_face.data.batch_checks import check_batch, check_decoding, check_pairs, check_triplets
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.data.position import Position
from lightning_face.engines.choice import check_engine_can_average, check_engine_can_load
from lightning_face.errors import CheckpointError, ConfigError
from lightning_face.files import write_atomically
from lightning_face.loggers import WandbConfig, make_loggers
from lightning_face.module import FaceModule
from lightning_face.parser import OneLineParser
from lightning_face.recorded import CONFIG_FILE, NETWORK_OPTIONS, check_same_options, kept_options, with_recorded_config
from lightning_face.trainer import FaceTrainer


class FaceCLI(LightningCLI):
    """`python -m lightning_face fit|validate|test|predict`."""

    trainer: FaceTrainer
    datamodule: FaceDataModule
    model: FaceModule

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Run folder, W&B, the callbacks every run has, and the values that must not be given twice."""
        parser.add_argument(
            "--run_dir",
            type=str,
            default="runs/default",
            help="Folder of the run. `fit` goes on from its last complete checkpoint; test and predict use its best.",
        )
        parser.add_class_arguments(WandbConfig, "wandb")
        parser.add_lightning_class_args(Checkpointing, "checkpoint")
        parser.add_lightning_class_args(NonFinite, "non_finite")
        parser.add_lightning_class_args(Verification, "verification")
        parser.add_lightning_class_args(Watchdog, "watchdog")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("data.image_size", "model.image_size")
        parser.link_arguments("data.channels", "model.channels")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Give the trainer the run's loggers and callbacks."""
        run_dir = Path(self.option("run_dir"))
        if self.option("trainer").get("logger"):
            raise ConfigError("trainer.logger has no effect: runs log to metrics.csv and, with `wandb`, to W&B")
        if self.subcommand == "fit":
            _check_writable(run_dir)
        elif not run_dir.is_dir():
            raise ConfigError(f"--run_dir {run_dir} is no run folder: it does not exist; give one that `fit` wrote")
        loggers = make_loggers(run_dir, self.option("wandb"), self._options()) if self.subcommand == "fit" else []
        return super().instantiate_trainer(**{**kwargs, "logger": loggers})

    def _run_subcommand(self, subcommand: str) -> None:
        with self.callback(Watchdog).watching():
            super()._run_subcommand(subcommand)

    def before_fit(self) -> None:
        """Everything that can be wrong is found here, in one process, before ranks are started."""
        self.check_options()
        self.note_beginning()
        self._choose(last_intact, partial(self._check_beginning, is_given=bool(self.option("ckpt_path"))))
        if not self.option("ckpt_path"):  # a run that goes on has weights of its own
            self.load_given_weights()
        self._record_config()

    def check_options(self) -> None:
        """Compare options with one another and with the data; nothing is written.

        Raises:
            FaceError: something the user can mend.
        """
        data, accumulation = self.datamodule, self.trainer.accumulate_grad_batches
        check_batch(data.order, self.trainer.world_size, accumulation, data.num_workers)
        check_decoding(data.encoded is not None, self.trainer.strategy.root_device)
        objective = self.model.objective_config
        check_triplets(data.order, are_wanted=objective.mines_offline)
        check_pairs(data.order, data.faces, accumulation, objective.pair_losses)
        self._check_evaluations()
        self.callback(NonFinite).check(self.trainer)
        if self.model.averaged is not None:
            check_engine_can_average(self.trainer.engine)
        self.trainer.saved_options = kept_options(self._options())

    def note_beginning(self) -> None:
        """`--ckpt_path` says where a run begins: given again, as a requeued job does, the run goes on from its own."""
        given, run_dir = self.option("ckpt_path"), self.trainer.run_dir
        self.callback(Attempts).ckpt_path = given
        if given and attempts.was_given(run_dir, given) and list_checkpoints(run_dir):
            self.config_init["fit"]["ckpt_path"] = None

    def load_given_weights(self) -> None:
        """Begin with those of `model.init_from`, if it is set.

        Raises:
            CheckpointError: it cannot be read, or is of another network.
        """
        if self.model.init_from is not None:
            Exported(Path(self.model.init_from)).load_into(self.model.backbone)

    def before_validate(self) -> None:
        """Choose the checkpoint; the callback prints what Lightning's table would repeat."""
        self.config_init["validate"]["verbose"] = False
        self._choose_for_evaluation()

    def before_test(self) -> None:
        """Choose the checkpoint; the callback prints what Lightning's table would repeat."""
        self.config_init["test"]["verbose"] = False
        self._choose_for_evaluation()

    def before_predict(self) -> None:
        """Choose the checkpoint."""
        self._choose_for_evaluation()

    def _choose_for_evaluation(self) -> None:
        self._choose(best_intact, self._check_evaluable)
        if self.subcommand != "predict":
            self._check_evaluations()
            if not self.datamodule.verification and not self.datamodule.identification:
                raise ConfigError(
                    "there is nothing to verify: set data.verification, e.g. --data.verification '{lfw: FOLDER}', to a"
                    " folder made by `python -m data_prep pairs`, or data.identification to one of known people"
                )

    def _check_evaluations(self) -> None:
        """Find what is wrong with verification and identification sets before anything is trained or loaded."""
        self.callback(Verification).read_pairs(self.datamodule)
        tables = self.model.objective_config.terms.keys() & {"softmax", "center"}
        if self.datamodule.identification and not tables:
            raise ConfigError(
                "data.identification compares with the classifier or the centers, and there is neither: set"
                " objective.softmax or objective.center (whose weight may be 0), or leave it out"
            )

    def _choose(self, of_run: Callable[..., Path | None], check: Callable[[Path | None], None]) -> None:
        """`--ckpt_path` if given, else the run's own; what is wrong with it by its looks is found here.

        Once ranks have met, rank 0 reads it, and may choose one before it; all load that.
        """
        given = self.option("ckpt_path")

        def chosen(*, every_byte: bool) -> Path | None:
            if given:
                check_intact(Path(given), every_byte=every_byte)
            checkpoint = Path(given) if given else of_run(self.trainer.run_dir, every_byte=every_byte)
            check(checkpoint)
            return checkpoint

        checkpoint = chosen(every_byte=False)
        self.trainer.choose_checkpoint(partial(chosen, every_byte=True))
        if checkpoint is not None:
            self.config_init[str(self.subcommand)]["ckpt_path"] = str(checkpoint / DENSE_FILE)
            self.config_init[str(self.subcommand)]["weights_only"] = True

    def _check_beginning(self, checkpoint: Path | None, *, is_given: bool) -> None:
        """Refuse what would mix two attempts in a folder, or would not go on as the same run."""
        if checkpoint is not None:
            if is_given:
                _check_nothing_is_given_up(self.trainer.run_dir, describe(checkpoint).step)
            self.check_resumable(checkpoint)

    def _check_evaluable(self, checkpoint: Path | None) -> None:
        """Refuse a run without checkpoints, and one of another network."""
        if checkpoint is None:
            raise CheckpointError(
                f"{self.trainer.run_dir} has no checkpoint to evaluate: run `fit` first, or give --ckpt_path"
            )
        check_same_options(checkpoint, kept_options(self._options()), only=NETWORK_OPTIONS)
        check_engine_can_load(checkpoint, describe(checkpoint), self.trainer.engine, self.trainer.world_size)

    def check_resumable(self, checkpoint: Path) -> int:
        """The step to go on from.

        Raises:
            CheckpointError: what goes on would not be the same run.
        """
        description = describe(checkpoint)
        position: Position = self.datamodule.position
        position.resumed_from(description.position)
        check_engine_can_load(checkpoint, description, self.trainer.engine, self.trainer.world_size)
        check_same_options(checkpoint, self.trainer.saved_options)
        return description.step

    @rank_zero_only
    def _record_config(self) -> None:
        config = self.config[str(self.subcommand)].clone()
        # They say where this attempt began: the next one must not go back there.
        config.ckpt_path = config.weights_only = None
        # Without its nulls, a term that is switched off would be back by default when the file is read.
        text = self._parser(self.subcommand).dump(config, skip_check=True, skip_none=False)
        write_atomically(self.trainer.run_dir / CONFIG_FILE, text.encode())

    def callback(self, kind: type[Callback]) -> Any:
        """The one of a kind."""
        return next(callback for callback in self.trainer.callbacks if isinstance(callback, kind))

    def option(self, name: str) -> Any:
        """A value of the command line."""
        return self.config_init[str(self.subcommand)].get(name)

    def _options(self) -> dict[str, Any]:
        return self.config[str(self.subcommand)].as_dict()


def _check_nothing_is_given_up(run_dir: Path, step: int) -> None:
    """Refuse to go on from an earlier checkpoint beside later ones: two attempts in one folder would mix."""
    later = [checkpoint.name for checkpoint in list_checkpoints(run_dir) if checkpoint.name > name_of(step)]
    if later:
        raise CheckpointError(
            f"--ckpt_path is at step {step}, but {run_dir} has {later[-1]} already: give another --run_dir, or remove"
            " the later checkpoints to give that work up"
        )


def _check_writable(run_dir: Path) -> None:
    """Fail now rather than at the first checkpoint."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / f".writable-{os.getpid()}"
        probe.touch()
        # On another node, a rank with the same process id may have been first.
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--run_dir {run_dir} cannot be written ({error.strerror}); choose another folder") from error


def run(arguments: list[str], kind: Callable[..., FaceCLI] = FaceCLI, *, others: str = "") -> FaceCLI:
    """Parse the command line and do what it says.

    Args:
        arguments: of the command line.
        kind: what it does with them.
        others: a sentence about commands that are not told of here.

    Raises:
        FaceError: something the user can mend.
    """
    return kind(
        FaceModule,
        FaceDataModule,
        trainer_class=FaceTrainer,
        trainer_defaults={
            "callbacks": [
                Preemption(),
                Attempts(),
                Plots(),
                Identification(),
                Predictions(),
                Result(),
                Summary(),
                TripletMining(),
            ],
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "log_every_n_steps": 20,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
        },
        save_config_callback=None,
        auto_configure_optimizers=False,
        seed_everything_default=1,
        parser_class=OneLineParser,
        parser_kwargs={"description": f"Train, evaluate and use face embeddings. {others}"},
        args=with_recorded_config(arguments),
    )
