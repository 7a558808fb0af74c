"""What would end a run, or mix it with another, by its options, data and folder: found before ranks are started."""

import os
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lightning_face.callbacks.non_finite import NonFinite
from lightning_face.callbacks.verification import Verification
from lightning_face.checkpoint.directory import describe, list_checkpoints, name_of
from lightning_face.data.batch_checks import check_batch, check_decoding, check_pairs, check_triplets
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.data.position import Position
from lightning_face.engines.choice import check_engine_can_average, check_engine_can_load
from lightning_face.errors import CheckpointError, ConfigError
from lightning_face.module import FaceModule
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.recorded import NETWORK_OPTIONS, check_same_options
from lightning_face.trainer import FaceTrainer


def check_training(trainer: FaceTrainer, model: FaceModule, data: FaceDataModule) -> None:
    """Compare options with one another and with the data; nothing is written.

    Raises:
        FaceError: something the user can mend.
    """
    accumulation = trainer.accumulate_grad_batches
    check_batch(data.order, trainer.world_size, accumulation, data.num_workers)
    check_decoding(data.encoded is not None, trainer.strategy.root_device)
    objective = model.objective_config
    check_triplets(data.order, are_wanted=objective.mines_offline)
    check_pairs(data.order, data.faces, accumulation, objective.pair_losses)
    check_evaluations(trainer, model, data)
    trainer.callback(NonFinite).check(trainer)
    warn_of_late_mml(objective, trainer.total_steps(data))
    if model.averaged is not None:
        check_engine_can_average(trainer.engine)


def warn_of_late_mml(objective: ObjectiveConfig, total_steps: int) -> None:
    """Say where MML never takes part; a short trial of a config that has it is no error."""
    if objective.mml is not None and objective.mml.from_step >= total_steps:
        rank_zero_warn(
            f"objective.mml.from_step is {objective.mml.from_step:,}, but the run has {total_steps:,} steps: MML never"
            " takes part; begin it earlier, or train longer"
        )


def check_evaluations(trainer: FaceTrainer, model: FaceModule, data: FaceDataModule) -> None:
    """Find what is wrong with verification and identification sets before anything is trained or loaded.

    Raises:
        FaceError: something the user can mend.
    """
    trainer.callback(Verification).read_pairs(data)
    if data.identification and not model.objective_config.terms.keys() & {"softmax", "center"}:
        raise ConfigError(
            "data.identification compares with the classifier or the centers, and there is neither: set"
            " objective.softmax or objective.center (whose weight may be 0), or leave it out"
        )


def check_anything_to_verify(data: FaceDataModule) -> None:
    """Refuse `test` and `validate` without a set.

    Raises:
        ConfigError: there is none.
    """
    if not data.verification and not data.identification:
        raise ConfigError(
            "there is nothing to verify: set data.verification, e.g. --data.verification '{lfw: FOLDER}', to a"
            " folder made by `python -m data_prep pairs`, or data.identification to one of known people"
        )


def check_evaluable(trainer: FaceTrainer, options: dict[str, Any], checkpoint: Path | None) -> None:
    """Refuse a run without checkpoints, and one of another network.

    Args:
        trainer: of this process.
        options: of this command, see `recorded.kept_options`.
        checkpoint: the one to evaluate.

    Raises:
        CheckpointError: there is none, it is of another network, or written by an engine that must load it itself.
    """
    if checkpoint is None:
        raise CheckpointError(f"{trainer.run_dir} has no checkpoint to evaluate: run `fit` first, or give --ckpt_path")
    check_same_options(checkpoint, options, only=NETWORK_OPTIONS)
    check_engine_can_load(checkpoint, describe(checkpoint), trainer.engine, trainer.world_size)


def check_resumable(trainer: FaceTrainer, data: FaceDataModule, checkpoint: Path) -> int:
    """The step to go on from.

    Raises:
        CheckpointError: what goes on would not be the same run.
    """
    description = describe(checkpoint)
    position: Position = data.position
    position.resumed_from(description.position)
    check_engine_can_load(checkpoint, description, trainer.engine, trainer.world_size)
    check_same_options(checkpoint, trainer.saved_options)
    return description.step


def check_nothing_is_given_up(run_dir: Path, checkpoint: Path) -> None:
    """Refuse to go on from an earlier checkpoint beside later ones: two attempts in one folder would mix.

    Raises:
        CheckpointError: names the newest one.
    """
    step = describe(checkpoint).step
    later = [checkpoint.name for checkpoint in list_checkpoints(run_dir) if checkpoint.name > name_of(step)]
    if later:
        raise CheckpointError(
            f"--ckpt_path is at step {step}, but {run_dir} has {later[-1]} already: give another --run_dir, or remove"
            " the later checkpoints to give that work up"
        )


def check_writable(run_dir: Path) -> None:
    """Fail now rather than at the first checkpoint.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / f".writable-{os.getpid()}"
        probe.touch()
        # On another node, a rank with the same process id may have been first.
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--run_dir {run_dir} cannot be written ({error.strerror}); choose another folder") from error
