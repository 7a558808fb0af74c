"""What `predict` leaves: one embedding per image."""

import numpy as np
from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lightning_face.callbacks.gathered import GatheredFeatures
from lightning_face.data.faces import FaceBatch
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer


class Predictions(Callback):
    """Writes `embeddings.npz` in the run's folder, rows in the order of the index.

    It holds `embeddings` (N, 2D) float32 unit rows (features of the image and of its mirror image, side by side),
    `labels` (N,) int64, and `identities` (C,), the names of the classes.
    """

    def on_predict_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Make room."""
        self._features = GatheredFeatures(len(trainer.datamodule.predict), pl_module.backbone.embedding_dim)

    def on_predict_batch_end(
        self,
        trainer: FaceTrainer,
        pl_module: FaceModule,
        outputs: Tensor,
        batch: tuple[FaceBatch, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Gather the features of all ranks."""
        self._features.add(batch[0].sample_ids_B, outputs)

    def on_predict_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Write the file, whole or not at all."""
        if not trainer.is_global_zero:
            return
        shards = trainer.datamodule.predict.shards
        path, partial = trainer.run_dir / "embeddings.npz", trainer.run_dir / ".embeddings.npz"
        with partial.open("wb") as file:
            np.savez(
                file,
                embeddings=self._features.fused("concat").numpy(),
                labels=shards.index["label"].astype(np.int64),
                identities=np.array(shards.identities()),
            )
        partial.replace(path)
        rank_zero_info(f"wrote {path}")
