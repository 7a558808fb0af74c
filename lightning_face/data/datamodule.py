"""The data of a run: training shards in exact order, verification sets, and the position between them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_face.data.augment import AugmentConfig, augment, normalise
from lightning_face.data.cache import CacheConfig
from lightning_face.data.decode import COLORS
from lightning_face.data.device_decode import EncodedBatch, EncodedFaces
from lightning_face.data.faces import FaceBatch, Faces
from lightning_face.data.known import known_classes
from lightning_face.data.loading import make_loader
from lightning_face.data.manifest import IDENTITIES_FILE, PAIRS_FILE
from lightning_face.data.order import Ids, LaneOrder
from lightning_face.data.order_choice import make_order
from lightning_face.data.places import open_dataset
from lightning_face.data.position import Position
from lightning_face.data.sampler import GivenSampler, SequentialSampler, TrainSampler, share_of
from lightning_face.data.triplet_order import TripletOrder
from lightning_face.errors import ConfigError


class FaceDataModule(LightningDataModule):
    """Reads training shards and verification sets made by `python -m data_prep`.

    Args:
        train: folder of the training dataset, or with a cache the URL below which its files lie.
        verification: name and folder or URL of each verification set, scored during and after training.
        identification: name and folder or URL of each identification set, a dataset of people of the training set:
            how many of its images the class tables take for the right one of them is reported where pairs are scored.
        predict: folder or URL of the dataset that `predict` embeds; default: the training dataset.
        global_batch_size: samples per optimizer step over all ranks and micro-batches.
        image_size: side of the network's input, pixels; images are scaled to it on the device.
        channels: of the network's input: 3 for RGB, 1 for grey.
        num_workers: processes that read and decode, per rank; 0 reads in the main process.
        verification_batch_size: images per rank and step when embedding.
        lanes: the order takes equally many samples of each of these parts of the data; at least the number of nodes.
        window: samples shuffled together; shards sorted by identity are shuffled as a whole.
        images_per_identity: images of each identity that a step meets, for losses that compare images of a person;
            null takes images one by one, each at most once an epoch.
        tail_weight: in [0, 1]: 0 meets identities in proportion to their images, n; 1 all equally often; in between,
            in proportion to n^(1 - tail_weight).
        mine_every_n_steps: makes up batches of triplets, for `objective.triplet.mining: offline`, which are mined every
            so many optimizer steps among as many images as there are triplets; `images_per_identity` (by default 2) and
            `tail_weight` are then about these images.
        cache: where each node keeps copies of the shards of all these datasets; null reads them where they lie.
        augment: random changes of training images.
        decode: where training images are decoded: `cpu`, in the workers, or `gpu`, by torchvision's nvJPEG, for hosts
            with few cores; images that this cannot read, and verification sets, are decoded on the CPU.
        seed: of order and augmentation.

    Raises:
        DataError: a folder is no dataset, or does not agree with its manifest.
        ConfigError: sizes that cannot work.
    """

    def __init__(
        self,
        train: str,
        verification: dict[str, str] | None = None,
        predict: str | None = None,
        identification: dict[str, str] | None = None,
        global_batch_size: int = 256,
        image_size: int = 112,
        channels: int = 3,
        num_workers: int = 2,
        verification_batch_size: int = 128,
        lanes: int = 64,
        window: int = 4096,
        images_per_identity: int | None = None,
        tail_weight: float = 0.0,
        mine_every_n_steps: int | None = None,
        cache: CacheConfig | None = None,
        augment: AugmentConfig = AugmentConfig(),
        decode: Literal["cpu", "gpu"] = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if image_size < 1 or num_workers < 0 or verification_batch_size < 1:
            raise ConfigError(
                "data.image_size and data.verification_batch_size must be above 0 and data.num_workers not negative,"
                f" got {image_size}, {verification_batch_size} and {num_workers}"
            )
        _check_channels(channels, augment)
        self.image_size = image_size
        self.channels = channels
        self.num_workers = num_workers
        self.verification_batch_size = verification_batch_size
        self.augment = augment
        self.faces = Faces(open_dataset(train, cache), seed, channels=channels, replace_damaged=True)
        self.encoded = EncodedFaces(self.faces) if decode == "gpu" else None
        # Every image of these counts.
        self.verification = {
            name: Faces(open_dataset(source, cache, PAIRS_FILE), seed, channels=channels, replace_damaged=False)
            for name, source in (verification or {}).items()
        }
        self.identification = {
            name: Faces(open_dataset(source, cache), seed, channels=channels, replace_damaged=False)
            for name, source in (identification or {}).items()
        }
        self.classes_of = {
            name: known_classes(f"data.identification {name}", faces.shards, self.faces.shards)
            for name, faces in self.identification.items()
        }
        shards = open_dataset(predict, cache) if predict else self.faces.shards
        self.predict = Faces(shards, seed, channels=channels, replace_damaged=False)
        self.order = make_order(
            self.faces.shards, global_batch_size, seed, lanes=lanes, window=window,
            images_per_identity=images_per_identity, tail_weight=tail_weight, mine_every_n_steps=mine_every_n_steps,
        )  # fmt: skip
        self.position = Position.start_of(self.order, self.faces.shards.manifest.digest())

    @property
    def num_classes(self) -> int:
        """Identities of the training dataset."""
        return self.faces.shards.manifest.num_classes

    @property
    def identities_file(self) -> Path:
        """Names of the training dataset's identities, a line each; line number is label."""
        return self.faces.shards.folder / IDENTITIES_FILE

    def train_dataloader(self) -> DataLoader[FaceBatch]:
        """Micro-batches of this rank, from the position on."""
        assert self.trainer is not None
        sampler = TrainSampler(
            self.order,
            accumulation=self.trainer.accumulate_grad_batches,
            rank=self.trainer.global_rank,
            num_ranks=self.trainer.world_size,
            first_epoch=self.position.epoch,
            first_step=self.position.step_in_epoch,
        )
        copies = self.faces.shards.copies
        if copies is not None and isinstance(self.order, LaneOrder):  # others take images from all shards
            # Half of what is this rank's share of the cache: the other half holds what is read at the moment.
            sampler.read_ahead(self.faces.shards, copies, copies.cache.max_bytes // (2 * self.trainer.num_devices))
        batch_size = self.order.global_batch_size // (self.trainer.accumulate_grad_batches * self.trainer.world_size)
        return self._loader(self.encoded or self.faces, sampler, batch_size, keep_workers=True)

    def subset_dataloader(self, sample_ids_M: Ids) -> DataLoader[FaceBatch]:
        """This rank's share of given training images, in order: batches are the same for any number of ranks."""
        assert self.trainer is not None
        batch_size = self.verification_batch_size
        own = share_of(len(sample_ids_M), batch_size, self.trainer.global_rank, self.trainer.world_size)
        sampler = GivenSampler(sample_ids_M[own], batch_size)
        return self._loader(self.faces, sampler, batch_size, keep_workers=False)

    def val_dataloader(self) -> list[DataLoader[FaceBatch]]:
        """One loader per verification set, in the order of `verification`, then one per identification set."""
        return [self._sequential(faces) for faces in (*self.verification.values(), *self.identification.values())]

    def test_dataloader(self) -> list[DataLoader[FaceBatch]]:
        """As for validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[FaceBatch]:
        """The dataset to embed, in order."""
        return self._sequential(self.predict)

    def on_before_batch_transfer(self, batch: FaceBatch | EncodedBatch, dataloader_idx: int) -> FaceBatch:
        """What is still encoded is decoded on the device."""
        if isinstance(batch, FaceBatch):
            return batch
        assert self.trainer is not None and self.encoded is not None
        return self.encoded.decoded(batch, self.trainer.strategy.root_device)

    def on_after_batch_transfer(self, batch: FaceBatch, dataloader_idx: int) -> tuple[FaceBatch, Tensor]:
        """On the device: the batch and its images as network input, augmented while training."""
        assert self.trainer is not None
        images = normalise(batch.images_BHWC, self.image_size)
        if self.trainer.training:
            images = augment(images, batch.draws_BK, self.augment)
        return batch, images

    def mark_trained(self, epoch: int, step: int) -> None:
        """Remember that an optimizer step was made; the sampler itself runs ahead of the training."""
        finished = step + 1 == self.order.steps_per_epoch
        place = (epoch + 1, 0) if finished else (epoch, (step + 1) * self.order.global_batch_size)
        self.position = replace(self.position, epoch=place[0], consumed=place[1])

    def state_dict(self) -> dict[str, Any]:
        """The position, see `Position.state`, and the triplets that are known."""
        state = self.position.state()
        if isinstance(self.order, TripletOrder):
            state["triplets"] = {window: torch.from_numpy(mined) for window, mined in self.order.mined.items()}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved position; called before `train_dataloader`."""
        if self.trainer is None or self.trainer.state.fn != "fit":
            return
        self.position = self.position.resumed_from(state_dict)
        if isinstance(self.order, TripletOrder):
            for window, triplets_T3 in sorted(state_dict["triplets"].items()):
                self.order.remember(window, triplets_T3.numpy())

    def _sequential(self, faces: Faces) -> DataLoader[FaceBatch]:
        assert self.trainer is not None
        ranks = {"rank": self.trainer.global_rank, "num_ranks": self.trainer.world_size}
        sampler = SequentialSampler(faces, batch_size=self.verification_batch_size, **ranks)
        return self._loader(faces, sampler, self.verification_batch_size, keep_workers=False)

    def _loader(
        self, faces: Faces | EncodedFaces, requests: TrainSampler | GivenSampler, batch_size: int, *, keep_workers: bool
    ) -> DataLoader[FaceBatch]:
        assert self.trainer is not None
        return make_loader(
            faces, requests, batch_size, num_workers=self.num_workers, keep_workers=keep_workers,
            device=self.trainer.strategy.root_device,
        )  # fmt: skip


def _check_channels(channels: int, augment: AugmentConfig) -> None:
    if channels not in COLORS:
        raise ConfigError(f"data.channels must be 3 for RGB or 1 for grey, got {channels}")
    if channels == 1 and augment.saturation > 0:
        raise ConfigError(
            f"data.augment.saturation has no effect on grey images, got {augment.saturation} with data.channels 1:"
            " leave it out"
        )
