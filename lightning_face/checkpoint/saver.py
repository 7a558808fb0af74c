"""Checkpoints are written while training goes on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from lightning_face.checkpoint.contents import Contents, write_checkpoint
from lightning_face.checkpoint.host_copies import HostCopies
from lightning_face.distributed.agreement import any_rank, group_for_a_thread
from lightning_face.distributed.step_agreement import StepAgreement
from lightning_face.tables.memory import free_on_the_poorest_rank

_ENDED = "ended"
"""The number of the checkpoint whose writing has ended on a rank."""


class Whole(NamedTuple):
    """A whole checkpoint and its step; where a run begins, none and 0."""

    checkpoint: Path | None = None
    step: int = 0


class Saver:
    """Writes one checkpoint at a time, in a thread of each rank, from copies in host memory.

    The threads exchange what they have written in a group of their own, and rank 0's publishes: a checkpoint under way
    is finished whatever the training does meanwhile, as long as the processes live. Every rank calls every method.

    Args:
        memory_share: what copies may take of the free host memory; the rest is left to what data workers and other
            processes may still ask for.
    """

    def __init__(self, memory_share: float = 0.8) -> None:
        self.newest = Whole()
        """What this attempt has finished last, or goes on from: the same on every rank."""
        self._memory_share = memory_share
        self._copies = HostCopies()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._group: Any = None
        self._agreement: StepAgreement | None = None
        self._under_way: Future[Whole] | None = None
        self._number = 0
        self._has_warned = False

    def start(self, final: Path, contents: Contents, published: Callable[[], object]) -> None:
        """Copy what is to be written, and begin to write; without memory for a copy, write before returning.

        None may be under way.

        Args:
            final: directory of the checkpoint, whose partial one is there.
            contents: of this rank; free to change afterwards.
            published: called on rank 0, by the thread, once the checkpoint has its name.

        Raises:
            CheckpointError: where there is no memory for a copy; else `finish` raises it. See `write_checkpoint`.
        """
        assert not self.is_under_way
        if not self._copy_fits(contents):
            self.newest = _write(final, contents, published)
            return
        if self._agreement is None:
            self._group, self._agreement = group_for_a_thread(), StepAgreement(_ENDED)
        dense, tables = self._copies.copy((contents.dense, contents.tables))
        contents = replace(contents, dense=dense, tables=tables)
        self._number += 1
        self._under_way = self._thread.submit(_write, final, contents, published, self._group)

    @property
    def is_under_way(self) -> bool:
        """Whether one was started and not finished: the same on every rank."""
        return self._under_way is not None

    def finish_if_ended(self) -> None:
        """At every boundary between steps: finish the checkpoint under way at the first one after all threads' ends.

        Raises:
            CheckpointError: see `finish`.
        """
        if self._under_way is None or self._agreement is None:
            return
        self._agreement.tell(_ENDED, self._number if self._under_way.done() else 0)
        self._agreement.exchange()
        if self._agreement.smallest(_ENDED) == self._number:
            self.finish()

    def finish(self) -> None:
        """Wait for the checkpoint under way, if there is one.

        Raises:
            CheckpointError: it could not be written; see `write_checkpoint`.
        """
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            self.newest = under_way.result()

    def _copy_fits(self, contents: Contents) -> bool:
        """Whether every rank has memory for its copy."""
        missing = self._copies.missing_bytes((contents.dense, contents.tables))
        if not any_rank(missing > 0):
            return True
        free = self._memory_share * free_on_the_poorest_rank(torch.device("cpu"))
        fits = not any_rank(missing > free)
        if not fits and not self._has_warned:
            self._has_warned = True
            rank_zero_warn(
                f"training waits while checkpoints are written: a copy of what rank 0 writes takes {missing / 1e9:,.2f}"
                f" GB, and each rank may take {free / 1e9:,.2f} GB, {self._memory_share:.0%} of its free host memory"
            )
        return fits


def _write(final: Path, contents: Contents, *how: Any) -> Whole:
    write_checkpoint(final, contents, *how)
    return Whole(final, contents.description.step)
