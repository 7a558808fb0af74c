"""What ranks tell one another at every step, without waiting for it."""

from typing import Any

import torch
import torch.distributed as dist

from lightning_face.distributed.world import world_size


class StepAgreement:
    """Numbers that every rank has of its own, of which all learn the smallest and the largest.

    One small reduction for each boundary between steps: begun at one boundary and read at the next, so that all ranks
    know the same at the same step. It has a gloo group of its own: no CUDA stream waits for it, and it never meets the
    collectives of training. Every rank makes one, and calls `exchange` and `close` as often as the others.

    Args:
        names: of the numbers, the same on every rank; all are 0 at first.
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self._own = dict.fromkeys(names, 0)
        # Largest numbers of all, then largest negative ones.
        self._known = [0] * 2 * len(names)
        self._on_its_way = torch.zeros(2 * len(names), dtype=torch.int64)
        self._work: dist.Work | None = None
        self._group: Any = dist.new_group(backend="gloo") if world_size() > 1 else None

    def tell(self, name: str, number: int) -> None:
        """Say this rank's number from the next boundary on; any thread may call."""
        self._own[name] = number

    def exchange(self) -> None:
        """Learn what all ranks said at the boundary before, and say this rank's numbers; with one rank, at once."""
        self._wait()
        self._known = self._on_its_way.tolist()
        own = [self._own[name] for name in self._names]
        self._on_its_way = torch.tensor([*own, *(-number for number in own)], dtype=torch.int64)
        if self._group is None:
            self._known = self._on_its_way.tolist()
        else:
            self._work = dist.all_reduce(self._on_its_way, dist.ReduceOp.MAX, self._group, async_op=True)

    def largest(self, name: str) -> int:
        """The largest number of any rank, as of the last `exchange`."""
        return self._known[self._names.index(name)]

    def smallest(self, name: str) -> int:
        """The smallest number of any rank, as of the last `exchange`."""
        return -self._known[len(self._names) + self._names.index(name)]

    def close(self) -> None:
        """Wait for what is on its way, and let go of the group."""
        self._wait()
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None

    def _wait(self) -> None:
        if self._work is not None:
            self._work.wait()
            self._work = None
