"""Promises P1 and P4 where triplets are mined: the hardest ones, and the same for any number of ranks."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import TorchElasticEnvironment

from lightning_face.callbacks.triplet_mining import HARD_TRIPLETS, TripletMining
from lightning_face.data.augment import normalise
from lightning_face.data.datamodule import FaceDataModule
from lightning_face.data.faces import BatchRequest
from lightning_face.data.triplet_order import TripletOrder
from lightning_face.distributed.world import world_size
from lightning_face.errors import ConfigError
from lightning_face.models import BackboneConfig
from lightning_face.module import FaceModule
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.triplet import TripletConfig
from lightning_face.optim.schedules import Schedule
from lightning_face.trainer import FaceTrainer
from tests import pair_oracles
from tests.ranks import run_ranks, torchrun

NUM_STEPS, EVERY = 11, 3
"""An epoch has 8 steps: its end lies within a window."""


class Watch(Callback):
    """What is trained: sample ids of each micro-batch, and its loss."""

    def __init__(self) -> None:
        self.ids: list[list[int]] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *args: Any) -> None:
        assert all(part.training for part in module.modules())
        self.ids.append(batch[0].sample_ids_B.tolist())
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


class ByTheBook(Callback):
    """At the beginning of each window, the hardest triplets for the next one, in loops."""

    def __init__(self) -> None:
        self.expected: dict[int, list[list[int]]] = {}
        self.found: dict[int, list[list[int]]] = {}
        self.share = 0.0

    def on_fit_start(self, trainer: Any, pl_module: FaceModule) -> None:
        self._mine(trainer, pl_module, 0)

    def on_train_batch_start(self, trainer: Any, pl_module: FaceModule, batch: Any, batch_idx: int) -> None:
        step = trainer.current_epoch * 8 + batch_idx
        if step % EVERY == 0:
            self._mine(trainer, pl_module, step // EVERY + 1)

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        mined = trainer.datamodule.order.mined
        self.found |= {window: triplets.tolist() for window, triplets in mined.items()}
        assert float(trainer.callback_metrics[HARD_TRIPLETS]) == pytest.approx(self.share)

    @torch.no_grad()
    def _mine(self, trainer: Any, pl_module: FaceModule, window: int) -> None:
        data = trainer.datamodule
        samples = data.order.subset(window)
        batch = data.faces[BatchRequest(0, 0, samples)]
        features = pl_module.eval()(normalise(batch.images_BHWC, 32)).double()
        pl_module.train()
        triplets = pair_oracles.hardest(pair_oracles.unit(features), batch.labels_B.tolist(), range(len(samples)))
        self.expected[window] = samples[triplets].tolist()
        unit = pair_oracles.unit(features)
        are_hard = [torch.dist(unit[a], unit[n]) < torch.dist(unit[a], unit[p]) for a, p, n in triplets]
        self.share = float(torch.stack(are_hard).double().mean())


def fit(dataset: Path, callback: Callback, *, accumulation: int = 1, **backbone: Any) -> None:
    """Train on mined triplets and softmax on this rank."""
    data = FaceDataModule(
        str(dataset), global_batch_size=24, image_size=32, num_workers=0, mine_every_n_steps=EVERY,
        verification_batch_size=10, seed=3,
    )  # fmt: skip
    torch.manual_seed(11)
    module = FaceModule(
        data.num_classes,
        image_size=32,
        backbone=BackboneConfig(**{"name": "test_convnext", "embedding_dim": 16, "neck": "linear", **backbone}),
        objective=ObjectiveConfig(center=None, triplet=TripletConfig(mining="offline")),
        optimizer=partial(torch.optim.SGD, lr=0.2, momentum=0.9),
        schedule=Schedule(),
        seed=3,
    )
    trainer = FaceTrainer(
        accelerator="cpu",
        devices=world_size(),
        plugins=[TorchElasticEnvironment()] if world_size() > 1 else None,
        max_steps=NUM_STEPS,
        accumulate_grad_batches=accumulation,
        callbacks=[callback, TripletMining()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)


def watched_fit(dataset: Path) -> Watch:
    watch = Watch()
    with torchrun() if world_size() > 1 else nullcontext():
        fit(dataset, watch, accumulation=2)
    return watch


def test_the_hardest_triplets_are_those_of_the_loops(tiny_dataset: Path) -> None:
    """With dropout and BatchNorm, which would show that the network is not evaluated but trained."""
    by_the_book = ByTheBook()
    fit(tiny_dataset, by_the_book, dropout=0.5, neck="flatten")
    assert set(by_the_book.expected) == set(range(5))
    assert by_the_book.found == by_the_book.expected
    assert 0 < by_the_book.share <= 1


def test_ranks_train_what_one_process_trains(tiny_dataset: Path) -> None:
    alone, ranks = watched_fit(tiny_dataset), run_ranks(watched_fit, 2, tiny_dataset)
    assert [first + second for first, second in zip(*(watch.ids for watch in ranks), strict=True)] == alone.ids
    assert len(alone.ids) == 2 * NUM_STEPS
    for watch in ranks:
        assert watch.losses == pytest.approx(alone.losses, rel=1e-5)


def test_a_subset_without_negatives_is_refused(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TripletOrder, "subset", lambda order, window: np.zeros(order.subset_size, dtype=np.int64))
    with pytest.raises(ConfigError, match=r"all 24 images .* are of one identity: raise data\.mine_every_n_steps"):
        fit(tiny_dataset, Watch())
