"""DeepSpeed's ZeRO through Lightning."""

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.precision import DeepSpeedPrecision
from pytorch_lightning.strategies import DeepSpeedStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.serialization import safe_globals

_FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class _InputsAsTheyAre(DeepSpeedPrecision):
    """Lightning's rounds all that a batch holds, also the numbers that decide the augmentation."""

    def convert_input(self, data: Any) -> Any:
        """Leave it to autocast."""
        return data


class ZeroStrategy(DeepSpeedStrategy):
    """DeepSpeed's ZeRO.

    Args:
        stage: 1 shares out the optimizer state, 2 also gradients, 3 also parameters.
        mixed: whether the module runs under autocast to bfloat16, as with the other engines: weights, gradients and
            what ranks exchange stay float32.
    """

    def __init__(self, stage: int, *, mixed: bool = False) -> None:
        self.stage = stage
        self._mixed = mixed
        precision = _InputsAsTheyAre("bf16-mixed" if mixed else "32-true")
        # The size is for the log of DeepSpeed; Lightning would look for a batch sampler, which the exact order has not.
        super().__init__(stage=stage, logging_batch_size_per_gpu=1, precision_plugin=precision)
        assert self.config is not None
        # What Lightning takes bf16-mixed for: weights in bfloat16, with a copy in float32.
        self.config["bf16"] = {"enabled": False}

    def init_deepspeed(self) -> None:
        """Have DeepSpeed run the module under autocast: one opened around its engine is closed inside of it.

        Its option for that is set here since Lightning hands it on for training only, not for an evaluation.
        """
        super().init_deepspeed()
        config = self.deepspeed_engine._config
        config.torch_autocast_enabled, config.torch_autocast_dtype = self._mixed, torch.bfloat16

    def prepare(self, backbone: nn.Module) -> None:
        """DeepSpeed knows no channels-last weights; images keep their layout."""
        backbone.to(memory_format=torch.contiguous_format)

    def backward(self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any) -> Tensor:
        """Have the loss divided by the accumulation once: Lightning has done so, DeepSpeed would again."""
        return super().backward(closure_loss, optimizer, *args, scale_wrt_gas=False, **kwargs)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load DeepSpeed's files without running what may be pickled in them."""
        engine_optimizer = self.deepspeed_engine.optimizer
        if not hasattr(engine_optimizer, "_restore_from_bit16_weights"):
            # ZeRO 3 without a real optimizer, as in an evaluation: DeepSpeed calls what is not there.
            engine_optimizer._restore_from_bit16_weights = lambda: None
        with _weights_only():
            return super().load_checkpoint(checkpoint_path, weights_only)


def merged_weights(folder: Path) -> dict[str, Tensor]:
    """Whole weights and buffers from the parts that ranks saved, without running what may be pickled in them."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with _weights_only(), contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        weights: dict[str, Tensor] = get_fp32_state_dict_from_zero_checkpoint(str(folder))
    return weights


def _what_it_saves() -> list[Any]:
    """The plain classes of DeepSpeed that its checkpoints hold besides tensors."""
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [LossScaler, ZeroStageEnum, fragment_address]


@contextmanager
def _weights_only() -> Iterator[None]:
    """DeepSpeed passes `weights_only=False` on to torch, which this overrides."""
    former = os.environ.get(_FORCED)
    os.environ[_FORCED] = "1"
    try:
        with safe_globals(_what_it_saves()):
            yield
    finally:
        del os.environ[_FORCED]
        if former is not None:
            os.environ[_FORCED] = former


class ZeroOnCpuStrategy(ZeroStrategy):
    """ZeRO without a GPU, for tests and for trying a config: Lightning's version insists on CUDA."""

    @property
    def root_device(self) -> torch.device:
        """DeepSpeed wants to know the index of its device."""
        return torch.device("cpu", self.local_rank)

    def setup_environment(self) -> None:
        """Skip the check for CUDA."""
        super(DeepSpeedStrategy, self).setup_environment()

    def setup_distributed(self) -> None:
        """Skip the check of the device's index."""
        self.set_world_ranks()
        self._init_deepspeed_distributed()
