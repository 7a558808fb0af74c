"""What `predict` leaves: one embedding per image."""

import numpy as np
import torch
from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lightning_face.data.faces import FaceBatch
from lightning_face.distributed.collectives import all_gather_rows
from lightning_face.evaluation.embeddings import fuse
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer


class Predictions(Callback):
    """Writes `embeddings.npz` in the run's folder, rows in the order of the index.

    It holds `embeddings` (N, 2D) float32 unit rows (features of the image and of its mirror image, side by side),
    `labels` (N,) int64, and `identities` (C,), the names of the classes.
    """

    def on_predict_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Make room."""
        faces = trainer.datamodule.predict
        self._features = torch.zeros((len(faces), 2, pl_module.backbone.embedding_dim))

    def on_predict_batch_end(
        self,
        trainer: FaceTrainer,
        pl_module: FaceModule,
        outputs: Tensor,
        batch: tuple[FaceBatch, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Store the features of all ranks by sample id."""
        self._features[all_gather_rows(batch[0].sample_ids_B).cpu()] = all_gather_rows(outputs).cpu()

    def on_predict_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Write the file, whole or not at all."""
        if not trainer.is_global_zero:
            return
        shards = trainer.datamodule.predict.shards
        path, partial = trainer.run_dir / "embeddings.npz", trainer.run_dir / ".embeddings.npz"
        with partial.open("wb") as file:
            np.savez(
                file,
                embeddings=fuse(self._features[:, 0], self._features[:, 1], "concat").numpy(),
                labels=shards.index["label"].astype(np.int64),
                identities=np.array(shards.identities()),
            )
        partial.replace(path)
        rank_zero_info(f"wrote {path}")
