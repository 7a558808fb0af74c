"""FSDP2 through Lightning."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from lightning_face.checkpoint.failures import reading
from lightning_face.distributed.agreement import on_every_rank


def _whole(value: Any) -> Any:
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _part_like(parameter: Tensor, value: Any) -> Any:
    """A whole tensor shared out as its parameter is; anything else as it is."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)


class FullyShardedStrategy(ModelParallelStrategy):
    """FSDP2: parameters, gradients and optimizer state of the backbone are shared out over all ranks.

    Its checkpoints hold whole tensors: any number of ranks loads them, and so does DDP.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Make every rank data parallel; Lightning's default makes them tensor parallel, and results are wrong."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimizer's own state with whole tensors; every rank calls.

        Lightning numbers parameters in the order of the module, and those of two groups would be mixed up on loading.
        """
        state = optimizer.state_dict()
        whole = {number: tree_map(_whole, values) for number, values in state["state"].items()}
        return {**state, "state": whole}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load weights and optimizer from whole tensors; each rank keeps its part.

        Lightning sets weights module by module, which has no effect on a backbone that is shared out as one.
        """
        read = partial(torch.load, checkpoint_path, map_location="cpu", mmap=True, weights_only=True)
        checkpoint: dict[str, Any] = on_every_rank(reading(Path(checkpoint_path).parent)(read))
        assert self.model is not None
        set_model_state_dict(self.model, checkpoint["state_dict"], options=StateDictOptions(full_state_dict=True))
        # None while a checkpoint is only evaluated.
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=False):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            parts = {
                number: {name: _part_like(parameters[number], value) for name, value in values.items()}
                for number, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": parts})
        return checkpoint

    def prepare(self, backbone: nn.Module) -> None:
        """Share a backbone out, once; FSDP2 knows no channels-last weights (images keep their layout)."""
        if not isinstance(backbone, FSDPModule):
            backbone.to(memory_format=torch.contiguous_format)
            fully_shard(backbone, mesh=self.device_mesh["data_parallel"])
