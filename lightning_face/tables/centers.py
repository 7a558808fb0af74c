"""The table of class centers, whatever its placement."""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.losses import moved_centers
from lightning_face.tables.block import own_classes, places_in
from lightning_face.tables.class_sums import ClassSums, added_up
from lightning_face.tables.initial import initial_rows

# Shapes: B samples of this rank, G of all ranks, U distinct classes of a global batch, D embedding dimension, H classes
# whose rows this rank holds.

Init = Literal["normal", "first_seen"]

NEVER = -1
"""When a center last moved that has not moved yet."""

MOVED_AT_BYTES = 4
"""Of a class, besides its row: the step in which its center last moved, int32."""


class _Move(NamedTuple):
    """A step of the centers: the classes of all ranks, and the places and rows of those that are held."""

    classes_U: Tensor
    places: Tensor
    before: Tensor
    after: Tensor


class Centers(ABC):
    """Class centers that move by Wen's rule, and for each the number of the step in which it last did.

    Bytes exchanged per step depend on batch and dimension alone.

    Args:
        num_classes: C.
        held: classes whose rows this rank holds, at least its own.
        dim: D.
        rate: Wen's alpha in [0, 1].
        init: `normal`: a class has a center from the start, drawn at random; `first_seen`: from the first step with
            samples of it on, where their mean is its center.
        init_std: standard deviation of the initial rows; with `first_seen` nothing looks at them.
        seed: of the initial rows.
        device: of the rows.
    """

    def __init__(
        self,
        num_classes: int,
        held: range,
        dim: int,
        *,
        rate: float,
        init: Init,
        init_std: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.num_classes = num_classes
        self.held = held
        self.rows_HD = initial_rows("centers", held.start, len(held), dim, std=init_std, seed=seed, device=device)
        self.rate = rate
        self._first_seen = init == "first_seen"
        self.moved_at_H = torch.full((len(held),), NEVER, dtype=torch.int32, device=device)
        self._num_steps = torch.zeros((), dtype=torch.int64)  # read on the CPU at every step
        self._pending: list[ClassSums] = []
        self._move: _Move | None = None

    @abstractmethod
    def samples(self, batch: GlobalBatch) -> tuple[Tensor, Tensor]:
        """Features of the samples that this rank answers for, and the places of their centers among the held rows."""

    @abstractmethod
    def of_any(self, tensor_H: Tensor, classes_U: Tensor) -> Tensor:
        """Entries (U, ...) of what is held, for sorted classes, held or not; every rank calls with the same ones."""

    @abstractmethod
    def over_held_(self, tensor: Tensor) -> Tensor:
        """Add up over ranks, in place, what each has added up over the rows that it holds; every rank calls."""

    @abstractmethod
    def _sums(self, batch: GlobalBatch, num_classes: int, slots_G: Tensor, differentiable: bool) -> Tensor:
        """Sums (U, D) of the global batch's features by class; sample i is of the class with number `slots_G[i]`."""

    def pairs(self, batch: GlobalBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Labels and features of the samples that this rank answers for, and their centers; ranks share them out.

        Samples of classes without a center are left out.
        """
        features, places = self.samples(batch)
        if self._first_seen:
            has_center = self.moved_at_H[places] != NEVER
            features, places = features[has_center], places[has_center]
        return places + self.held.start, features, self.rows_HD.index_select(0, places)

    def share(self) -> tuple[int, Tensor, Tensor]:
        """What this rank answers for, each row on one rank: the first class, the rows, and when each last moved."""
        own = own_classes(self.num_classes)
        places = slice(own.start - self.held.start, own.stop - self.held.start)
        return own.start, self.rows_HD[places], self.moved_at_H[places]

    def rows_of(self, classes_U: Tensor) -> Tensor:
        """Centers (U, D) of sorted classes, held or not; every rank calls with the same ones."""
        return self.of_any(self.rows_HD, classes_U)

    @property
    def num_steps(self) -> int:
        """How often the centers have stepped."""
        return int(self._num_steps)

    def observe(self, batch: GlobalBatch, *, differentiable: bool) -> ClassSums:
        """Add up the global batch's features by class, and remember them for `step`.

        Args:
            differentiable: whether gradients are to flow from the sums to the features of every rank.
        """
        labels = torch.unique(batch.labels_G, sorted=True, return_inverse=True, return_counts=True)
        classes_U, slots_G, counts_U = labels
        sums_UD = self._sums(batch, len(classes_U), slots_G, differentiable)
        self._pending.append(ClassSums(classes_U, counts_U, sums_UD.detach()))
        self._move = None
        return ClassSums(classes_U, counts_U, sums_UD)

    def moved(self, sums: ClassSums) -> Tensor:
        """Where a batch takes the centers of its classes, (U, D): by Wen's rule, or to their mean; every rank calls."""
        rows_UD = self.rows_of(sums.classes_U)
        moved_at_U = self.of_any(self.moved_at_H, sums.classes_U) if self._first_seen else None
        moved_UD = self._moved(rows_UD, moved_at_U, sums)
        if (
            len(self._pending) == 1 and self._pending[0].classes_U is sums.classes_U
        ):  # nothing but this batch moves them
            is_held_U, places = self.places(sums.classes_U)
            self._move = _Move(sums.classes_U, places, rows_UD[is_held_U], moved_UD.detach()[is_held_U])
        return moved_UD

    @torch.no_grad()
    def displacements(self) -> tuple[Tensor, Tensor]:
        """How far `step` would move centers now, Euclidean.

        Returns:
            Those classes of the batches observed that this rank answers for, each on one rank, and their distances;
            without those whose center begins there.
        """
        move = self._next_move()
        own = own_classes(self.num_classes)
        classes = move.places + self.held.start
        counts = (classes >= own.start) & (classes < own.stop)
        if self._first_seen:
            counts &= self.moved_at_H[move.places] != NEVER
        return classes[counts], torch.linalg.vector_norm(move.after - move.before, dim=1)[counts]

    @torch.no_grad()
    def step(self) -> Tensor:
        """Move the centers once for all batches observed since the last step (several under accumulation).

        Returns:
            The classes that moved on any rank, int64, sorted.
        """
        move = self._next_move()
        self.forget()
        self.rows_HD[move.places] = move.after
        self.moved_at_H[move.places] = self.num_steps
        self._num_steps += 1
        return move.classes_U

    def forget(self) -> None:
        """Drop the batches observed since the last step."""
        self._pending.clear()
        self._move = None

    def _next_move(self) -> _Move:
        """What `step` would do now; known since the last batch was observed, so that two may ask."""
        if self._move is None:
            sums = added_up(self._pending)
            is_held_U, places = self.places(sums.classes_U)
            before = self.rows_HD.index_select(0, places)
            after = self._moved(before, self.moved_at_H[places], sums[is_held_U])
            self._move = _Move(sums.classes_U, places, before, after)
        return self._move

    def _moved(self, rows_UD: Tensor, moved_at_U: Tensor | None, sums: ClassSums) -> Tensor:
        """The rule: of rows, and when each last moved, which matters to `first_seen` alone."""
        moved_UD = moved_centers(rows_UD, sums.sums_UD, sums.counts_U, self.rate)
        if moved_at_U is None or not self._first_seen:
            return moved_UD
        return torch.where((moved_at_U == NEVER).unsqueeze(1), sums.sums_UD / sums.counts_U.unsqueeze(1), moved_UD)

    def shift(self, classes_U: Tensor, shifts_UD: Tensor) -> None:
        """Add (U, D) to the centers of distinct, sorted classes, where they are held."""
        is_held_U, places = self.places(classes_U)
        self.rows_HD.index_add_(0, places, shifts_UD[is_held_U])

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint holds, by name; loading copies into these tensors."""
        return {"centers": self.rows_HD, "centers.moved_at": self.moved_at_H, "centers.step": self._num_steps}

    def places(self, classes_U: Tensor) -> tuple[slice, Tensor]:
        """Which of some sorted classes are held, and the places of those among the held rows."""
        if len(self.held) == self.num_classes:  # nothing to look for, which a GPU would have to be waited for
            return slice(None), classes_U
        found = places_in(self.held, classes_U)
        is_held_U = slice(found.start, found.stop)
        return is_held_U, classes_U[is_held_U] - self.held.start
