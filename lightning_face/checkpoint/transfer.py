"""Begin a run with what another has learned, on the same or another dataset: classes are found by identity name."""

import torch
from torch import Tensor

from lightning_face.checkpoint.exported import CENTERS, CLASSIFIER, MOVED_AT, Exported
from lightning_face.data.manifest import are_numbers
from lightning_face.errors import ConfigError
from lightning_face.tables.centers import NEVER

# Shapes: C classes of this run, S of some of them that the file has rows for.


class Transfer:
    """Finds the rows of a run's classes in a file that another run was exported to.

    Args:
        exported: the file.
        identities: name of each class of this run.
        manifest_hash: of this run's dataset.

    Raises:
        ConfigError: the datasets differ, and one has numbers for names: those of different people would be equal.
    """

    def __init__(self, exported: Exported, identities: list[str], manifest_hash: str) -> None:
        self._exported = exported
        self._identities = identities
        self._former = exported.identities()
        if exported.tables and manifest_hash != exported.origin.manifest_hash:
            _check_named(str(exported.path), self._former)
            _check_named("data.train", identities)

    def find(self, classes: range) -> tuple[Tensor, Tensor]:
        """Which of some neighbouring classes the file has.

        Returns:
            Their places (S,) among `classes`, and the classes (S,) that they are in the file, rising; int64.
        """
        place_of = {name: place for place, name in enumerate(self._identities[classes.start : classes.stop])}
        pairs = [(place_of[name], former) for former, name in enumerate(self._former) if name in place_of]
        places_S, former_S = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
        return places_S, former_S.contiguous()

    @torch.no_grad()
    def copy(self, tables: dict[str, Tensor], held: dict[str, range]) -> None:
        """Overwrite the rows of the classes that are found; all others stay as they are.

        Args:
            tables: of the run, by name, with the rows that this rank holds.
            held: which rows those are; all, for a name that is not here.

        Raises:
            ConfigError: rows are of another size.
        """
        everything = range(len(self._identities))
        for name in (CLASSIFIER, CENTERS, MOVED_AT):
            if name in tables and name in self._exported.tables:
                self._check_size(name, list(tables[name].shape[1:]))
                self._copy(name, tables[name], *self.find(held.get(name, everything)))

    def _copy(self, name: str, table: Tensor, places_S: Tensor, former_S: Tensor) -> None:
        for first, rows in self._exported.blocks(name):
            start, stop = torch.searchsorted(former_S, torch.tensor([first, first + len(rows)])).tolist()
            values = rows[former_S[start:stop] - first].to(table.device)
            # Steps count anew; that a center has moved before still says that it is worth a distance.
            values = values.clamp(NEVER, 0) if name == MOVED_AT else values
            table[places_S[start:stop].to(table.device)] = values

    def _check_size(self, name: str, size: list[int]) -> None:
        former = self._exported.tables[name][1:]
        if former != size:
            raise ConfigError(
                f"model.init_from: a row of the {name} is {former} in {self._exported.path}, here {size}; use the same"
                " options, or export without that table"
            )


def _check_named(where: str, identities: list[str]) -> None:
    """Refuse numbers."""
    if are_numbers(identities):
        raise ConfigError(
            f"model.init_from: the identities of {where} are numbers, not names: rows of another dataset cannot be"
            " told apart; export without --classifier and --centers, or give names with"
            " `python -m data_prep index --identities`"
        )
