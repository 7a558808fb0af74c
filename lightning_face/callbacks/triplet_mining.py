"""Mines triplets every n steps, among a subset of the training images (FaceNet's offline mining)."""

import time
from typing import Any

import torch
from pytorch_lightning import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_info
from torch import Tensor

from lightning_face import watchdog
from lightning_face.data.augment import normalise
from lightning_face.data.order import Ids
from lightning_face.data.sampler import share_of
from lightning_face.data.triplet_order import TripletOrder
from lightning_face.directions import unit_vectors
from lightning_face.distributed.collectives import all_gather_rows
from lightning_face.distributed.world import rank, world_size
from lightning_face.errors import ConfigError
from lightning_face.losses import hardest_triplets
from lightning_face.losses.at_once import rows_at_once
from lightning_face.module import FaceModule
from lightning_face.trainer import FaceTrainer

# Shapes: M images of a subset, T of them anchors, D embedding dimension.

HARD_TRIPLETS = "train/triplet_hard"
"""Share of the triplets mined last whose negative is nearer to the anchor than the positive."""


class TripletMining(Callback):
    """Mines a window's triplets when the window before begins, with the network as it is then; see `TripletOrder`.

    So they are known before a worker asks for them: workers read less than a window ahead. The first window's are mined
    before the first step. A run that goes on finds in its checkpoint what was mined before.
    """

    def on_fit_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Mine for the first window: once training starts, workers have begun to read."""
        order = trainer.datamodule.order
        if isinstance(order, TripletOrder) and trainer.ckpt_path is None:
            _mine(trainer, pl_module, order, 0)

    def on_train_batch_start(self, trainer: FaceTrainer, pl_module: FaceModule, batch: Any, batch_idx: int) -> None:
        """Mine for the window after the one that begins."""
        order = trainer.datamodule.order
        if not isinstance(order, TripletOrder):
            return
        following = order.window(trainer.current_epoch, batch_idx // trainer.accumulate_grad_batches) + 1
        if following not in order.mined:
            pl_module.log(HARD_TRIPLETS, _mine(trainer, pl_module, order, following))


def _mine(trainer: FaceTrainer, pl_module: FaceModule, order: TripletOrder, window: int) -> Tensor:
    """Tell the order the hardest triplets of a window, and return the share of hard ones; every rank calls.

    Raises:
        ConfigError: on every rank, if there is no negative among the images.
    """
    started, samples_M, config = time.monotonic(), order.subset(window), pl_module.objective_config.triplet
    assert config is not None and config.is_offline
    features_MD, labels_M = _embed(trainer, samples_M)
    if bool((labels_M == labels_M[0]).all()):
        raise ConfigError(
            f"all {len(samples_M)} images among which triplets are mined are of one identity: raise"
            " data.mine_every_n_steps, or data.tail_weight"
        )
    if config.normalise:
        features_MD = unit_vectors(features_MD)
    triplets_T3, squares_T2 = _hardest_of_all_ranks(features_MD, labels_M, order.num_triplets)
    order.remember(window, samples_M[triplets_T3.cpu().numpy()])
    share = (squares_T2[:, 1] < squares_T2[:, 0]).float().mean()
    rank_zero_info(
        f"mined {len(triplets_T3):,} triplets among {len(samples_M):,} images in {time.monotonic() - started:.1f} s; of"
        f" {share:.1%} the negative is nearer than the positive"
    )
    return share


@torch.no_grad()
def _embed(trainer: FaceTrainer, samples_M: Ids) -> tuple[Tensor, Tensor]:
    """Features (M, D) float32 and labels (M,) of training images, as in an evaluation; every rank calls.

    An image that cannot be decoded is replaced as in training, and has the label of what replaces it.
    """
    data, network, device = trainer.datamodule, trainer.model, trainer.strategy.root_device
    assert network is not None
    modes = {part: part.training for part in network.modules()}
    network.eval()
    features, labels = [], []
    with trainer.precision_plugin.val_step_context():
        for batch in data.subset_dataloader(samples_M):
            watchdog.alive()
            features.append(network(normalise(batch.images_BHWC.to(device), data.image_size)).float())
            labels.append(batch.labels_B.to(device))
    for part, mode in modes.items():
        part.training = mode
    features_MD, labels_M = (all_gather_rows(torch.cat(own))[: len(samples_M)] for own in (features, labels))
    return features_MD, labels_M


def _hardest_of_all_ranks(features_MD: Tensor, labels_M: Tensor, num_anchors: int) -> tuple[Tensor, Tensor]:
    """See `hardest_triplets`; ranks share the anchors, in the same blocks for any number of ranks; every rank calls."""
    device, (num_samples, dim) = features_MD.device, features_MD.shape
    size = min(num_anchors, rows_at_once(num_samples, dim, device))
    own = torch.from_numpy(share_of(num_anchors, size, rank(), world_size())).to(device)
    parts = [hardest_triplets(features_MD, labels_M, anchors) for anchors in own.split(size)]
    triplets_T3, squares_T2 = (all_gather_rows(torch.cat(found))[:num_anchors] for found in zip(*parts, strict=True))
    return triplets_T3, squares_T2
