"""Scores the verification sets: during training, and in `validate` and `test`."""

from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lightning_face.callbacks.gathered import GatheredFeatures
from lightning_face.callbacks.plots import publish
from lightning_face.callbacks.result import Evaluation, weights_of
from lightning_face.data.faces import FaceBatch
from lightning_face.data.manifest import PAIRS_FILE
from lightning_face.errors import ConfigError
from lightning_face.evaluation.embeddings import Fusion
from lightning_face.evaluation.figures import roc_figure, score_histogram_figure
from lightning_face.evaluation.pairs import PairList, read_pairs
from lightning_face.evaluation.verification import VerificationResult, verify
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer

MONITORED = "verification/accuracy"
"""Mean accuracy over the verification sets, by the first fusion: decides which checkpoint is the best."""


class Verification(Evaluation):
    """Embeds the verification sets on all ranks and reports accuracy, AUC, EER and TAR@FAR of each.

    Args:
        fusions: how the features of an image and of its mirror image are joined; figures of the first one carry no
            suffix, the others are named, e.g. `verification/lfw/accuracy@sum`.
    """

    def __init__(self, fusions: list[Fusion] | None = None) -> None:
        self.fusions: list[Fusion] = fusions if fusions is not None else ["concat", "sum"]
        if not self.fusions:
            raise ConfigError("verification.fusions must name at least one of concat, sum, none")
        self.results: dict[str, VerificationResult] = {}
        self._pairs: dict[str, PairList] = {}
        self._features: list[GatheredFeatures] = []

    def read_pairs(self, datamodule: Any) -> None:
        """Read the pairs of every set; raises DataError before anything is trained."""
        for name, faces in datamodule.verification.items():
            self._pairs[name] = read_pairs(Path(faces.shards.folder) / PAIRS_FILE, len(faces))

    def on_validation_epoch_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Make room for the features of every sample of every set."""
        datamodule = trainer.datamodule
        if not self._pairs:
            self.read_pairs(datamodule)
        dim = pl_module.backbone.embedding_dim
        self._features = [GatheredFeatures(len(faces), dim) for faces in datamodule.verification.values()]

    def on_validation_batch_end(
        self,
        trainer: FaceTrainer,
        pl_module: FaceModule,
        outputs: Tensor,
        batch: tuple[FaceBatch, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Gather the features of all ranks; other sets may follow."""
        if dataloader_idx < len(self._features):
            self._features[dataloader_idx].add(batch[0].sample_ids_B, outputs)

    def on_validation_epoch_end(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Score every set on rank 0, log the same figures on all ranks, and draw the plots."""
        if not self._features:
            return
        scalars = self._score() if trainer.is_global_zero else {}
        self._features = []
        # The figures decide which checkpoint is the best: ranks on different machines might round them differently.
        scalars = trainer.strategy.broadcast(scalars)
        pl_module.log_dict(scalars, rank_zero_only=False, sync_dist=False)
        pl_module.log("accuracy", scalars[MONITORED], prog_bar=True, logger=False)
        if trainer.is_global_zero:
            self._draw(trainer)
            self._print(scalars, weights_of(trainer))

    def _score(self) -> dict[str, float]:
        scalars: dict[str, float] = {}
        for name, features in zip(self._pairs, self._features, strict=True):
            for number, fusion in enumerate(self.fusions):
                result = verify(features.fused(fusion), self._pairs[name])
                suffix = f"@{fusion}" if number else ""
                self.results[name + suffix] = result
                scalars |= {f"verification/{name}/{key}{suffix}": value for key, value in result.scalars().items()}
        first = [self.results[name].accuracy for name in self._pairs]
        return {**scalars, MONITORED: sum(first) / len(first)}

    on_test_epoch_start = on_validation_epoch_start  # type: ignore[assignment]
    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]
    on_test_epoch_end = on_validation_epoch_end  # type: ignore[assignment]

    def record(self) -> dict[str, Any]:
        """See `Evaluation.record`."""
        figures = {name: result.scalars() for name, result in self.results.items()}
        return {"fusion": self.fusions[0], "verification": figures} if figures else {}

    def _draw(self, trainer: FaceTrainer) -> None:
        figures = {"roc": roc_figure({name: self.results[name] for name in self._pairs})}
        for name in self._pairs:
            figures[f"scores-{name}"] = score_histogram_figure(self.results[name], f"{name}, {weights_of(trainer)}")
        for name, figure in figures.items():
            publish(trainer, figure, name)

    def _print(self, scalars: dict[str, float], weights: str) -> None:
        for name in self._pairs:
            prefix = f"verification/{name}/"
            own = {key.removeprefix(prefix): value for key, value in scalars.items() if key.startswith(prefix)}
            others = tuple(f"@{fusion}" for fusion in self.fusions[1:])
            shown = [f"{key} {value:.4f}" for key, value in own.items() if not key.endswith(others)]
            rank_zero_info(f"{weights}: {name}: {', '.join(shown)}")
