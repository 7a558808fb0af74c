"""`synthetic`: a training set of generated faces, and sets of other identities and of other images to test it by."""

from dataclasses import replace
from pathlib import Path

from data_prep.passes.parts import Job
from data_prep.passes.recipe import Option, Recipe
from data_prep.passes.writer import write_dataset
from data_prep.synthetic import pictures
from data_prep.verification.pairs import pairs_csv
from lightning_face.data.manifest import PAIRS_FILE
from lightning_face.errors import ConfigError

TRAIN_FOLDER = "train"
VERIFY_FOLDER = "verify"
KNOWN_FOLDER = "known"
IMAGES_OF_HELD_OUT = 10


def make_synthetic(
    out: Path, *, identities: int, images: int, known: int, held_out: int, pairs: int, size: int, quality: int,
    reuse: int | None, seed: int, shard_samples: int, workers: int,
) -> None:  # fmt: skip
    """Write the datasets `out/train` and, unless there is nothing for them, `out/known` and `out/verify`.

    Args:
        out: folder of the three.
        identities: to train on.
        images: of them to train on, in all.
        known: further images of each of them, equally many whatever the training set has of one.
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
    renderer = pictures.Renderer(size=size, quality=quality, seed=seed, reuse=reuse)
    options: dict[str, Option] = {"command": "synthetic", "size": size, "quality": quality, "reuse": reuse}
    options["identities"] = identities
    job = Job(workers=workers)
    # Nothing is left out: --reuse asks for the same picture again and again.
    recipe = Recipe(seed=seed, shard_samples=shard_samples, keep_all=True)
    items = pictures.plan(identities, images, seed=seed)
    of_train = {**options, "images": images}
    write_dataset(out / TRAIN_FOLDER, pictures.Pictures(renderer, items), recipe, job, options=of_train)
    if known:
        write_dataset(
            out / KNOWN_FOLDER, pictures.Pictures(renderer, pictures.further(items, known)),
            replace(recipe, shuffle=False), job, options={**of_train, "known": known},
        )  # fmt: skip
    if not held_out:
        return
    items = pictures.plan(held_out, held_out * IMAGES_OF_HELD_OUT, seed=seed, first_identity=identities)
    rows = pictures.balanced_pairs(items, pairs, seed=seed)
    write_dataset(
        out / VERIFY_FOLDER, pictures.Pictures(renderer, items), replace(recipe, shuffle=False), job,
        options={**options, "held_out": held_out, "pairs": pairs}, files={PAIRS_FILE: pairs_csv(rows)},
    )  # fmt: skip
