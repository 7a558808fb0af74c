"""Fixtures that several folders of tests share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.passes.parts import Job
from data_prep.passes.recipe import Recipe
from data_prep.sources.folder import make_folder

TINY_COUNTS = [40, 24, 20, 16, 14, 12, 11, 10, 9, 8, 7, 6, 5, 5, 4, 3, 3, 2, 2, 1]
"""Images of each identity: 202 images of 20 identities, one of them with a single image."""


LONGEST = (("e2e", "test_resume.py"), ("slurm", "test_jobs.py"))
"""The files of tests that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest go first: begun last, one worker would run them while the others wait."""
    items.sort(key=lambda item: item.path.parts[-2:] not in LONGEST)


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """202 images of 20 uneven identities, a folder for each of them."""
    source = tmp_path_factory.mktemp("tiny_images")
    for identity, count in enumerate(TINY_COUNTS):
        folder = source / f"person_{identity:02d}"
        folder.mkdir()
        for number in range(count):
            _tiny_face(identity, number).save(folder / f"{number:03d}.png")
    return source


@pytest.fixture(scope="session")
def tiny_dataset(tiny_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training dataset of the tiny images, 40x40 pixels, in 3 shards."""
    out = tmp_path_factory.mktemp("tiny_dataset") / "train"
    make_folder(
        tiny_images, out, people=None, without_fold=None, size=40, quality=90, recipe=Recipe(seed=1, shard_samples=70),
        job=Job(),
    )  # fmt: skip
    return out


def _tiny_face(identity: int, number: int) -> Image.Image:
    """Smooth noise of the identity with some of the image: classes that a network can learn."""
    own = np.random.default_rng(identity).integers(0, 256, (5, 5, 3))
    other = np.random.default_rng((identity, number)).integers(0, 256, (5, 5, 3))
    mixed = (0.7 * own + 0.3 * other).astype(np.uint8)
    return Image.fromarray(mixed).resize((40, 40), Image.Resampling.BICUBIC)
