"""Which order a run's options ask for."""

from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_face.data.identity_order import IdentityOrder
from lightning_face.data.order import LaneOrder, Order
from lightning_face.data.shards import Shards
from lightning_face.data.triplet_order import TripletOrder


def make_order(
    shards: Shards, global_batch_size: int, seed: int, *, lanes: int, window: int, images_per_identity: int | None,
    tail_weight: float, mine_every_n_steps: int | None,
) -> Order:  # fmt: skip
    """The order of a dataset; see `FaceDataModule` for the arguments.

    Raises:
        ConfigError: sizes that cannot work.
    """
    manifest = shards.manifest
    of_people = (shards.index["label"], manifest.num_classes, global_batch_size, seed)
    if mine_every_n_steps is not None:
        per_identity = 2 if images_per_identity is None else images_per_identity
        return TripletOrder(*of_people, mine_every_n_steps, per_identity, tail_weight)
    if images_per_identity is not None or tail_weight != 0:
        return IdentityOrder(*of_people, images_per_identity or 1, tail_weight)
    if not manifest.shuffled:
        rank_zero_info(
            f"{shards.folder} is not shuffled over its shards: whole lanes are shuffled, so a step sees few people;"
            " prepare it with `python -m data_prep folder` to mix all"
        )
    sizes = tuple(shard.samples for shard in manifest.shards)
    return LaneOrder(sizes, global_batch_size, seed, lanes, window if manifest.shuffled else 0)
