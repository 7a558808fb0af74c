"""Whether the class tables fit into memory, asked before they are allocated."""

import math
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lightning_face.distributed.agreement import gather_objects
from lightning_face.distributed.world import world_size
from lightning_face.errors import ConfigError
from lightning_face.optim.rows import RowOptimizer, RowOptimizerConfig
from lightning_face.tables.host_memory import free_host_bytes

TABLES_SHARE = 0.8
"""Of the free memory; the rest is left to backbone, images and everything else, which is not there yet."""


@dataclass(frozen=True)
class TablePlan:
    """A table about to be made, or a buffer of the size of its rows.

    Args:
        name: as messages call it.
        option: that decides its placement.
        is_sharded: whether ranks share its rows out.
        bytes_per_class: of its rows and their optimizer state, see `bytes_per_class`.
        more_if_replicated: bytes per class that a replicated table takes besides.
        is_saved: in checkpoints; a buffer is not.
    """

    name: str
    option: str
    is_sharded: bool
    bytes_per_class: int
    more_if_replicated: int = 0
    is_saved: bool = True

    def bytes_held(self, num_classes: int, num_ranks: int) -> int:
        """What the rank with most of the table holds."""
        if self.is_sharded:
            return self.bytes_per_class * -(-num_classes // num_ranks)
        return (self.bytes_per_class + self.more_if_replicated) * num_classes


def bytes_per_class(width: int, optimizer: RowOptimizerConfig | None = None) -> int:
    """Bytes of a class's float32 numbers, and of their optimizer state where there is one."""
    numbers = torch.empty((1, width), dtype=torch.float32)
    state = RowOptimizer(optimizer, numbers).state() if optimizer is not None else {}
    return numbers.nbytes + sum(tensor.nbytes for tensor in state.values() if tensor.ndim)


def check_memory(tables: Sequence[TablePlan], num_classes: int, device: torch.device) -> None:
    """Compare what tables will hold with TABLES_SHARE of the free memory; every rank calls, and all raise or none does.

    Free is what the device, the system, and the container or job around the process have left. Ranks that share a
    memory get equal parts of it.

    Raises:
        ConfigError: some rank may take less memory than its tables need; one line says what would do.
    """
    free = TABLES_SHARE * free_on_the_poorest_rank(device)
    held = {table.name: table.bytes_held(num_classes, world_size()) for table in tables}
    if sum(held.values()) > free:
        each = ", ".join(f"{name} {_gigabytes(num_bytes)}" for name, num_bytes in held.items())
        raise ConfigError(
            f"class tables of {num_classes:,} classes need {_gigabytes(sum(held.values()))} on each rank ({each}), but"
            f" may take {_gigabytes(free)}, {TABLES_SHARE:.0%} of its free {device.type} memory:"
            f" {_way_out(tables, num_classes, free)}"
        )


def _way_out(tables: Sequence[TablePlan], num_classes: int, free: float) -> str:
    """How many ranks would do, given as much memory each, and what must be sharded for it."""
    replicated = dict.fromkeys(f"{table.option}: sharded" for table in tables if not table.is_sharded)
    affordable_classes = max(1, int(free // sum(table.bytes_per_class for table in tables)))
    num_ranks = -(-num_classes // affordable_classes)
    ways = [f"set {' and '.join(replicated)}"] if replicated else []
    if num_ranks > world_size():
        ways.append(f"use {num_ranks:,} ranks with as much memory each instead of {world_size():,}")
    return ", and ".join(ways)


def free_on_the_poorest_rank(device: torch.device) -> float:
    """Bytes that each rank may take, the same number on all; ranks that share memory get equal parts of it."""
    everywhere = gather_objects(((socket.gethostname(), _memory_of(device)), free_bytes(device)))
    ranks_at = Counter(place for place, _ in everywhere)
    return min(free / ranks_at[place] for place, free in everywhere)


def _memory_of(device: torch.device) -> str:
    """What tells two memories of a host apart; every task may call its only GPU `cuda:0`."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device.type


def free_bytes(device: torch.device) -> float:
    """Free memory of a device; infinite where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_host_bytes() if device.type == "cpu" else math.inf


def _gigabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.2f} GB"
