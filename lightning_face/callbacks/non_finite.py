"""What becomes of a step whose loss or gradient is not finite."""

from functools import partial
from typing import Any, Literal, get_args

from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lightning_face.callbacks.checkpointing import Checkpointing
from lightning_face.checkpoint.choice import choice_of_rank_zero, last_intact
from lightning_face.engines.reload import reload
from lightning_face.errors import ConfigError
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer

Action = Literal["stop", "skip", "rewind"]


class NonFinite(Callback):
    """Decides on a step whose loss or gradient is not finite on some rank: it moves nothing, on any rank.

    Steps, samples and learning rates are counted on as if nothing had happened, whatever the action, and a run that is
    killed and goes on takes the same actions at the same steps.

    Args:
        action: `stop` ends the run with exit code 3. `skip` leaves the step out: weights, tables, optimizers and
            running statistics are those before it. `rewind` takes those of the newest whole checkpoint at a multiple
            of `checkpoint.every_n_steps`, and trains on with the data that follows.
        at_most: steps to skip, or rewinds, over the whole run; one more ends it with exit code 3.
    """

    def __init__(self, action: Action = "stop", at_most: int = 10) -> None:
        if action not in get_args(Action):
            raise ConfigError(f"non_finite.action must be one of {', '.join(get_args(Action))}, got {action!r}")
        if at_most < 1:
            raise ConfigError(f"non_finite.at_most must be above 0, got {at_most}; action stop takes no such step")
        self.action = action
        self.at_most = at_most
        self.times = 0
        self._before: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """How often it has happened, so that a run that goes on does not begin to count anew."""
        return {"times": self.times}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.times = state_dict["times"]

    def check(self, trainer: FaceTrainer) -> None:
        """Refuse what could not be done when it is needed.

        Raises:
            ConfigError: the engine steps by itself, or there will be no checkpoints to go back to.
        """
        if self.action != "stop" and trainer.engine.startswith("deepspeed"):
            raise ConfigError(
                f"non_finite.action {self.action} does not work with {trainer.engine}, which steps by itself; set it to"
                " stop, or trainer.strategy to ddp or fsdp2"
            )
        if self.action == "rewind" and not _saving(trainer):
            raise ConfigError("non_finite.action rewind needs checkpoints: add the callback Checkpointing")

    def setup(self, trainer: FaceTrainer, pl_module: FaceModule, stage: str) -> None:
        """Be asked from now on."""
        if stage == "fit" and self.action != "stop":
            self.check(trainer)
            pl_module.when_not_finite = partial(self._act, trainer, pl_module)

    def on_train_batch_start(self, trainer: FaceTrainer, pl_module: FaceModule, batch: Any, batch_idx: int) -> None:
        """Remember what moves before it is known whether the step is finite."""
        if self.action == "skip" and batch_idx % trainer.accumulate_grad_batches == 0:
            self._before = [tensor.clone() for tensor in _moved_by_forward(pl_module)]

    def on_train_batch_end(self, trainer: FaceTrainer, pl_module: FaceModule, *args: Any) -> None:
        """Log the count."""
        if self.action != "stop":
            name = "skipped_steps" if self.action == "skip" else "rewinds"
            pl_module.log(f"train/{name}", float(self.times))

    def _act(self, trainer: FaceTrainer, pl_module: FaceModule, what: str) -> None:
        """Every rank calls."""
        if self.times == self.at_most:
            pl_module.stop(f"{what}, after {self.times} times that non_finite.action {self.action} has dealt with it")
        self.times += 1
        number = f"{self.times} of at most {self.at_most}"
        if self.action == "skip":
            for tensor, before in zip(_moved_by_forward(pl_module), self._before, strict=True):
                tensor.copy_(before)
            rank_zero_info(f"{what}: the step is skipped, {number}")
            return
        saving = _saving(trainer)[0]
        saving.wait(trainer)  # which checkpoint is the newest must not depend on how fast it is written
        choose = partial(last_intact, trainer.run_dir, every_n_steps=saving.every_n_steps)
        chosen = choice_of_rank_zero(choose, trainer.run_dir)
        if chosen is None:
            pl_module.stop(f"{what}, and there is no checkpoint yet to go back to")
        reload(trainer.strategy, chosen)
        pl_module.load_tables(chosen)
        rank_zero_info(f"{what}: going back to the weights of {chosen}, {number}")


def _saving(trainer: FaceTrainer) -> list[Checkpointing]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Checkpointing)]


def _moved_by_forward(pl_module: FaceModule) -> list[Tensor]:
    """Running statistics of the network and the head."""
    return [*pl_module.backbone.buffers(), *pl_module.objective.head_state().values()]
