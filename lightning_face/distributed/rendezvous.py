"""Ranks meet within a stated time, or learn who has not come."""

import os
import socket
from datetime import timedelta

import torch.distributed as dist

from lightning_face.errors import ConfigError

LONGEST_COLLECTIVE_S = 600.0
"""A rank may be reading a large shard from a slow disk while the others wait."""


def meet(address: str, port: int, rank: int, num_ranks: int, *, backend: str, timeout_s: float) -> None:
    """Make the process group of all ranks.

    Args:
        address: host name or number of rank 0's machine.
        port: there.
        rank: of this process.
        num_ranks: W.
        backend: nccl or gloo.
        timeout_s: to wait for all ranks; later, for a collective, at least LONGEST_COLLECTIVE_S.

    Raises:
        ConfigError: rank 0 cannot be reached, or some ranks have not come; one line names them.
    """
    own, bound = f"rank {rank} on {socket.gethostname()}", timedelta(seconds=timeout_s)
    by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun's agent holds the store
    try:
        hosts = rank == 0 and not by_agent
        held = dist.TCPStore(address, port, num_ranks, hosts, timeout=bound, wait_for_workers=False)
    except RuntimeError as error:
        raise ConfigError(
            f"{own} cannot {'listen at' if hosts else 'reach rank 0 at'} {address}:{port} within {timeout_s:g} s; check"
            " MASTER_ADDR and MASTER_PORT, the firewall between nodes, and that rank 0 has started"
        ) from error
    store = dist.PrefixStore("doctor", held)
    try:
        store.set(f"rank {rank}", own)
        _wait_for_all(store, num_ranks, bound)
    except RuntimeError as error:
        raise ConfigError(f"{own}: the ranks did not come together: rank 0 has ended; its message says why") from error
    longest = timedelta(seconds=max(timeout_s, LONGEST_COLLECTIVE_S))
    dist.init_process_group(backend, store=store, rank=rank, world_size=num_ranks, timeout=longest)


def part() -> None:
    """End the process group."""
    dist.destroy_process_group()


def _wait_for_all(store: dist.Store, num_ranks: int, bound: timedelta) -> None:
    names = [f"rank {other}" for other in range(num_ranks)]
    try:
        store.wait(names, bound)
    except RuntimeError as error:
        came = [store.get(name).decode() for name in names if store.check([name])]
        missing = [name for name in names if not store.check([name])]
        raise ConfigError(
            f"{', '.join(missing)} of {num_ranks} did not come within {bound.total_seconds():g} s; there are"
            f" {', '.join(came)}; look into the log of the missing, and at --nodes, --ntasks-per-node,"
            " trainer.num_nodes and trainer.devices"
        ) from error
