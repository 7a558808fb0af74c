"""Scores the identification sets: how many images are taken for the right one of the known classes."""

from typing import Any

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lightning_face.callbacks.gathered import GatheredFeatures
from lightning_face.callbacks.result import Evaluation
from lightning_face.data.faces import FaceBatch
from lightning_face.module import FaceModule
from lightning_face.objectives.identification import identified
from lightning_face.trainer import FaceTrainer


class Identification(Evaluation):
    """Embeds the identification sets on all ranks and reports the accuracy of classifier and nearest center on each.

    Features are those of the image alone, without its mirror image, as they are while training.
    """

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, float]] = {}
        self._features: list[GatheredFeatures] = []

    def on_validation_epoch_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Make room for the features of every sample of every set."""
        dim = pl_module.backbone.embedding_dim
        self._features = [GatheredFeatures(len(faces), dim) for faces in trainer.datamodule.identification.values()]

    def on_validation_batch_end(
        self,
        trainer: FaceTrainer,
        pl_module: FaceModule,
        outputs: Tensor,
        batch: tuple[FaceBatch, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Gather the features of all ranks; these sets come after the verification sets."""
        number = dataloader_idx - len(trainer.datamodule.verification)
        if number >= 0:
            self._features[number].add(batch[0].sample_ids_B, outputs)

    def on_validation_epoch_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Compare with the class tables and log the same figures on all ranks."""
        data = trainer.datamodule
        for (name, faces), features in zip(data.identification.items(), self._features, strict=True):
            expected_N = torch.from_numpy(data.classes_of[name][faces.shards.index["label"]])
            found = identified(pl_module.objective, features.of_images())
            figures = {f"{by}_accuracy": float((found[by] == expected_N).double().mean()) for by in found}
            self.figures[name] = figures
            scalars = {f"identification/{name}/{key}": value for key, value in figures.items()}
            pl_module.log_dict(scalars, rank_zero_only=False, sync_dist=False)
            rank_zero_info(f"{name}: {', '.join(f'{key} {value:.4f}' for key, value in figures.items())}")
        self._features = []

    def record(self) -> dict[str, Any]:
        """See `Evaluation.record`."""
        return {"identification": self.figures} if self.figures else {}

    on_test_epoch_start = on_validation_epoch_start  # type: ignore[assignment]
    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]
    on_test_epoch_end = on_validation_epoch_end  # type: ignore[assignment]
