"""Where in the order of data a run stands: what a checkpoint keeps of it, and what it may be resumed with."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from lightning_face.data.order import Order
from lightning_face.errors import CheckpointError

VERSION = 1


@dataclass(frozen=True)
class Position:
    """Samples trained so far; names no rank, no worker and no micro-batch.

    Args:
        seed: of the order.
        epoch: from 0.
        consumed: samples of that epoch already trained, a multiple of the global batch size.
        global_batch_size: G.
        order: its state.
        manifest_hash: digest of the dataset's manifest.
        num_samples: of the dataset; not saved, the manifest tells it.
    """

    seed: int
    epoch: int
    consumed: int
    global_batch_size: int
    order: dict[str, Any]
    manifest_hash: str
    num_samples: int

    @staticmethod
    def start_of(order: Order, manifest_hash: str) -> "Position":
        """The first step of the first epoch."""
        return Position(order.seed, 0, 0, order.global_batch_size, order.state(), manifest_hash, order.num_samples)

    @property
    def step_in_epoch(self) -> int:
        """Optimizer steps of the epoch already trained."""
        return self.consumed // self.global_batch_size

    def state(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        fields = asdict(self)
        del fields["num_samples"]
        return {"version": VERSION, **fields}

    def resumed_from(self, saved: dict[str, Any]) -> "Position":
        """The saved position, expressed in this run's order.

        Args:
            saved: `state()` of the run that is resumed.

        Raises:
            CheckpointError: the saved samples do not begin a sequence of this run's steps; lists the differences.
        """
        own = self.state()
        ignored = {"epoch", "consumed", "global_batch_size"}
        differences = [
            f"{name}: {saved.get(name)} -> {own[name]}"
            for name in own
            if name not in ignored and saved.get(name) != own[name]
        ]
        before, now = saved["global_batch_size"], self.global_batch_size
        lanes = self.order.get("lanes")
        if before != now and lanes and (before % lanes or now % lanes or saved["consumed"] % now):
            differences.append(
                f"global_batch_size: {before} -> {now} (it may change only where {lanes} lanes divide both and"
                f" the {saved['consumed']} samples trained are a whole number of new steps)"
            )
        if differences:
            raise CheckpointError(
                "the checkpoint was trained on another order of data, resuming would repeat or skip samples: "
                + "; ".join(differences)
                + "; use the former values, or another --run_dir"
            )
        if saved["consumed"] + now > self.num_samples:
            # A larger batch than the former may find no whole step left of the epoch.
            return replace(self, epoch=saved["epoch"] + 1, consumed=0)
        return replace(self, epoch=saved["epoch"], consumed=saved["consumed"])
