"""Ranks agree before they go on: that they do the same thing, and that none of them has failed."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import ConfigError, FaceError

Result = TypeVar("Result")


def gather_objects(value: Any, group: Any = None) -> list[Any]:
    """What each rank gives, in rank order; small and picklable.

    Args:
        value: of this rank.
        group: of all ranks, see `group_for_a_thread`; here and below: where a thread calls beside the main one.
    """
    if world_size() == 1:
        return [value]
    everywhere: list[Any] = [None] * world_size()
    dist.all_gather_object(everywhere, value, group)
    return everywhere


def group_for_a_thread() -> Any:
    """A gloo group of all ranks, so that what threads exchange never meets the collectives of training; all call."""
    return dist.new_group(backend="gloo") if world_size() > 1 else None


def any_rank(condition: bool) -> bool:
    """Whether a condition holds on some rank; every rank calls, and receives the same answer."""
    return any(gather_objects(condition))


def on_every_rank(work: Callable[[], Result], group: Any = None) -> Result:
    """Do what may fail on one rank alone, such as writing a file; every rank calls, and all fail where one does.

    Args:
        work: without collectives: a rank that fails would leave the others in them.
        group: see `gather_objects`.

    Returns:
        What `work` returns on this rank.

    Raises:
        FaceError: on every rank, if `work` raises one somewhere: that of the first such rank, which is named.
        RuntimeError: on the others, if a rank meets anything else, which that rank itself raises.
    """
    own: Exception | None = None
    try:
        result = work()
    except Exception as error:
        own = error
    failures = gather_objects(own if own is None or isinstance(own, FaceError) else RuntimeError(repr(own)), group)
    if own is not None and not isinstance(own, FaceError):
        raise own
    for failed, failure in enumerate(failures):
        if failure is not None:
            raise type(failure)(f"{failure}" if world_size() == 1 else f"rank {failed}: {failure}") from own
    return result


def on_rank_zero(work: Callable[[], object], group: Any = None) -> None:
    """Have rank 0 do something; see `on_every_rank`. No rank goes on before it is done."""
    on_every_rank(lambda: work() if rank() == 0 else None, group)


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
