"""Checks that every rank is about to do the same thing."""

from typing import Any

import torch.distributed as dist

from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import ConfigError


def gather_objects(value: Any) -> list[Any]:
    """What each rank gives, in rank order; small and picklable."""
    if world_size() == 1:
        return [value]
    everywhere: list[Any] = [None] * world_size()
    dist.all_gather_object(everywhere, value)
    return everywhere


def any_rank(condition: bool) -> bool:
    """Whether a condition holds on some rank; every rank calls, and receives the same answer."""
    return any(gather_objects(condition))


def check_same_on_all_ranks(facts: dict[str, str]) -> None:
    """Compare facts by name across ranks; every rank calls.

    Raises:
        ConfigError: on every rank, if a fact of some rank differs from rank 0's: folders that are not shared, say.
    """
    everywhere = gather_objects(facts)
    for other, found in enumerate(everywhere):
        for name, value in everywhere[0].items():
            if found[name] != value:
                raise ConfigError(
                    f"ranks do not agree on the {name}: rank 0 has {value}, rank {other} has {found[name]}"
                    f" (this is rank {rank()}); run folder and data must be the same on every node"
                )
