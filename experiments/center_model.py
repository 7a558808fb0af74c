"""A finished center model, as far as MML's margin and weight depend on it: its centers, and features of a few steps.

Shapes: C classes, T steps, G samples of a step, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from experiments.features import embedded
from lightning_face.checkpoint.directory import Description
from lightning_face.checkpoint.exported import CENTERS, MOVED_AT
from lightning_face.data.identity_order import IdentityOrder
from lightning_face.data.shards import Shards
from lightning_face.errors import ConfigError, DataError
from lightning_face.tables.centers import NEVER

_STEPS = 20
_CENTER = "model.objective.center"


@dataclass(frozen=True)
class CenterModel:
    """What the rule asks for.

    Args:
        steps: features (G, D) float64 and classes (G,) of the samples of each step.
        centers_CD: the run's own centers, float64: those that MML will see.
        has_center_C: which of them have moved.
        weight: of its center loss, as of a mean over the samples of a step.
        rate: of its centers.
    """

    steps: Sequence[tuple[Tensor, Tensor]]
    centers_CD: Tensor
    has_center_C: Tensor
    weight: float
    rate: float

    @staticmethod
    def of(network: Path, checkpoint: Description, train: Path) -> "CenterModel":
        """Of a run.

        Args:
            network: its export, with centers.
            checkpoint: that was exported.
            train: its training set.

        Raises:
            ConfigError: it has no center loss, or one of unit features.
            DataError: the dataset is another.
        """
        weight, rate = center_loss_of(checkpoint)
        shards = Shards(train)
        if shards.manifest.digest() != checkpoint.position["manifest_hash"]:
            raise DataError(f"{train} is not what the run was trained on: its manifest is another")
        steps_TG = _samples_of_steps(checkpoint.position, shards)
        ids, places_TG = steps_TG.unique(return_inverse=True)
        features, labels = embedded(network, train, ids)
        tables = load_file(network)
        steps = [(features[places_G], labels[places_G]) for places_G in places_TG]
        return CenterModel(steps, tables[CENTERS].double(), tables[MOVED_AT] != NEVER, weight, rate)


def center_loss_of(checkpoint: Description) -> tuple[float, float]:
    """Weight, as of a mean over the samples of a step, and rate of a run's center loss.

    Raises:
        ConfigError: it has none, or one of unit features.
    """
    weight = checkpoint.options.get(f"{_CENTER}.weight")
    if not weight or checkpoint.options[f"{_CENTER}.normalise"]:
        raise ConfigError(
            "the run has no center loss of raw features, and MML's gradient is measured against that; train with"
            " model.objective.center first"
        )
    is_sum = checkpoint.options[f"{_CENTER}.reduction"] == "sum"
    samples = checkpoint.position["global_batch_size"] if is_sum else 1
    return weight * samples, checkpoint.options[f"{_CENTER}.rate"]


def _samples_of_steps(position: dict[str, Any], shards: Shards) -> Tensor:
    """Samples (T, G) of the first steps of a run's order; lanes meet single images, as identities with one each do."""
    given, slots = position["order"], np.arange(position["global_batch_size"])
    order = IdentityOrder(
        shards.index["label"], shards.manifest.num_classes, len(slots), position["seed"],
        given.get("images_per_identity", 1), given.get("tail_weight", 0.0),
    )  # fmt: skip
    ids_TG = order.sample_ids(0, 0, min(_STEPS, order.steps_per_epoch), slots)
    return torch.from_numpy(ids_TG % len(shards.index))
