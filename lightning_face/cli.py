"""The command line: LightningCLI with the trainer's defaults, the links between data and model, and run folders."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
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
from lightning_face.checkpoint.directory import DENSE_FILE, list_checkpoints
from lightning_face.checkpoint.exported import Exported
from lightning_face.checks import (
    check_anything_to_verify,
    check_evaluable,
    check_evaluations,
    check_nothing_is_given_up,
    check_resumable,
    check_training,
    check_writable,
)
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.errors import ConfigError
from lightning_face.files import write_atomically
from lightning_face.loggers import WandbConfig, make_loggers
from lightning_face.module import FaceModule
from lightning_face.parser import OneLineParser
from lightning_face.recorded import CONFIG_FILE, kept_options, with_recorded_config
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
            check_writable(run_dir)
        elif not run_dir.is_dir():
            raise ConfigError(f"--run_dir {run_dir} is no run folder: it does not exist; give one that `fit` wrote")
        loggers = make_loggers(run_dir, self.option("wandb"), self._options()) if self.subcommand == "fit" else []
        return super().instantiate_trainer(**{**kwargs, "logger": loggers})

    def _run_subcommand(self, subcommand: str) -> None:
        with self.trainer.callback(Watchdog).watching():
            super()._run_subcommand(subcommand)

    def before_fit(self) -> None:
        """Everything that can be wrong is found here, in one process, before ranks are started."""
        self.check_training()
        self.note_beginning()
        self._choose(last_intact, partial(self._check_beginning, is_given=bool(self.option("ckpt_path"))))
        if not self.option("ckpt_path"):  # a run that goes on has weights of its own
            self.load_given_weights()
        self._record_config()

    def check_training(self) -> None:
        """See `checks`; what may not change when the run goes on is noted."""
        check_training(self.trainer, self.model, self.datamodule)
        self.trainer.saved_options = kept_options(self._options())

    def note_beginning(self) -> None:
        """`--ckpt_path` says where a run begins: given again, as a requeued job does, the run goes on from its own."""
        given, run_dir = self.option("ckpt_path"), self.trainer.run_dir
        self.trainer.callback(Attempts).ckpt_path = given
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
        options = kept_options(self._options())
        self._choose(best_intact, partial(check_evaluable, self.trainer, options))
        if self.subcommand != "predict":
            check_evaluations(self.trainer, self.model, self.datamodule)
            check_anything_to_verify(self.datamodule)

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
                check_nothing_is_given_up(self.trainer.run_dir, checkpoint)
            check_resumable(self.trainer, self.datamodule, checkpoint)

    @rank_zero_only
    def _record_config(self) -> None:
        config = self.config[str(self.subcommand)].clone()
        # They say where this attempt began: the next one must not go back there.
        config.ckpt_path = config.weights_only = None
        # Without its nulls, a term that is switched off would be back by default when the file is read.
        text = self._parser(self.subcommand).dump(config, skip_check=True, skip_none=False)
        write_atomically(self.trainer.run_dir / CONFIG_FILE, text.encode())

    def option(self, name: str) -> Any:
        """A value of the command line."""
        return self.config_init[str(self.subcommand)].get(name)

    def _options(self) -> dict[str, Any]:
        return self.config[str(self.subcommand)].as_dict()


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
