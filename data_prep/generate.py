"""`synthetic`: a training set of generated faces and a verification set of generated identities held out of it."""

from collections.abc import Sequence
from pathlib import Path

from data_prep import synthetic
from data_prep.pairs import pairs_csv
from data_prep.plan import Option, Plan
from data_prep.writer import write_dataset
from lightning_face.data.manifest import PAIRS_FILE
from lightning_face.errors import ConfigError

TRAIN_FOLDER = "train"
VERIFY_FOLDER = "verify"
IMAGES_OF_HELD_OUT = 10


def make_synthetic(
    out: Path, *, identities: int, images: int, held_out: int, pairs: int, size: int, quality: int, reuse: int | None,
    seed: int, shard_samples: int, workers: int,
) -> None:  # fmt: skip
    """Write the datasets `out/train` and, unless no identity is held out, `out/verify`.

    Args:
        out: folder of the two.
        identities: to train on.
        images: of them, in all.
        held_out: identities of the verification set, with about ten images each.
        pairs: of the verification set, half of them of one identity.
        size: of the images, pixels.
        quality: of the JPEGs.
        reuse: None, or how many pictures all images share, for tests of scale.
        seed: of faces and of the order of samples.
        shard_samples: images in a shard, at most.
        workers: processes.

    Raises:
        ConfigError: the counts do not fit, or `out` was begun with other options.
        DataError: `out` cannot be written.
    """
    if images < 2 * identities:
        raise ConfigError(f"--images {images} is less than two for each of --identities {identities}")
    if held_out == 1:
        raise ConfigError("--held-out 1 leaves no pairs of different identities; give 0, or 2 or more")
    renderer = synthetic.Renderer(size=size, quality=quality, seed=seed, reuse=reuse)
    options: dict[str, Option] = {"command": "synthetic", "size": size, "quality": quality, "reuse": reuse}
    items = synthetic.plan(identities, images, seed=seed)
    of_train: dict[str, Option] = {"identities": identities, "images": images}
    train = Plan(items, _names(items), renderer, {**options, **of_train}, seed, shard_samples)
    write_dataset(out / TRAIN_FOLDER, train, workers)
    if not held_out:
        return
    items = synthetic.plan(held_out, held_out * IMAGES_OF_HELD_OUT, seed=seed, first_identity=identities)
    rows = synthetic.balanced_pairs(items, pairs, seed=seed)
    of_verify: dict[str, Option] = {"identities": identities, "held_out": held_out, "pairs": pairs}
    verify = Plan(
        items, _names(items), renderer, {**options, **of_verify}, seed, shard_samples,
        shuffle=False, keep_all=True, files={PAIRS_FILE: pairs_csv(rows)},
    )  # fmt: skip
    write_dataset(out / VERIFY_FOLDER, verify, workers)


def _names(items: Sequence[synthetic.Item]) -> list[str]:
    names = {item.label: synthetic.identity_name(item.identity) for item in items}
    return [names[label] for label in sorted(names)]
