"""Datasets of generated faces: who has how many images, how each becomes a JPEG, and pairs to verify them by."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from data_prep.passes.source import Face
from data_prep.synthetic.faces import render_face
from data_prep.verification.pair_drawing import Pair, draw_pairs
from lightning_face.errors import ConfigError
from lightning_face.hashing import permutation

ZIPF_EXPONENT = 0.7


@dataclass(frozen=True, slots=True)
class Item:
    """One image to be made.

    Args:
        identity: number that seeds the identity vector.
        image: number that seeds the nuisance vector.
    """

    identity: int
    image: int


def identity_name(number: int) -> str:
    """What `identities.txt` calls a generated person."""
    return f"synthetic-{number:08d}"


def zipf_counts(num_identities: int, num_images: int, min_images: int, exponent: float) -> NDArray[np.int64]:
    """Images of each identity, most first: the minimum for all, the rest in proportion to 1 / rank**exponent.

    Returns:
        (num_identities,) int64 that sum to exactly `num_images`.

    Raises:
        ConfigError: there are not enough images, or nobody to have them.
    """
    if num_identities < 1:
        raise ConfigError(f"num_identities must be at least 1, got {num_identities}; ask for one identity or more")
    if min_images < 1:
        raise ConfigError(f"min_images must be at least 1, got {min_images}; ask for one image an identity or more")
    spare = num_images - min_images * num_identities
    if spare < 0:
        raise ConfigError(
            f"num_images must be at least num_identities x min_images = {num_identities} x {min_images} ="
            f" {num_identities * min_images}, got {num_images}; ask for more images or fewer identities"
        )
    if not 0.0 <= exponent <= 4.0:
        raise ConfigError(f"zipf_exponent must be in [0, 4], got {exponent}; 0 is even, 1 is Zipf's law")
    weights = np.arange(1, num_identities + 1, dtype=np.float64) ** -exponent
    ends = np.floor(spare * np.cumsum(weights) / weights.sum() + 0.5).astype(np.int64)
    ends[-1] = spare
    counts = min_images + np.diff(ends, prepend=0)
    return np.sort(counts)[::-1]


def plan(
    num_identities: int,
    num_images: int,
    *,
    seed: int,
    min_images: int = 2,
    first_identity: int = 0,
    zipf_exponent: float = ZIPF_EXPONENT,
) -> list[Item]:
    """All images of a dataset, sorted by identity.

    Args:
        num_identities: people, with numbers from `first_identity` on.
        num_images: of all identities together.
        seed: shuffles which identity has many images and which few.
        min_images: that every identity has.
        first_identity: number of the first person; sets with ranges that do not overlap share no person.
        zipf_exponent: how unequal the rest is: 0 even, 1 Zipf's law.

    Raises:
        ConfigError: the numbers do not fit together.
    """
    if first_identity < 0:
        raise ConfigError(f"first_identity must not be negative, got {first_identity}; count people from 0")
    counts = zipf_counts(num_identities, num_images, min_images, zipf_exponent)
    counts = counts[permutation(num_identities, seed, "zipf")]
    return [
        Item(identity, image)
        for identity, count in enumerate(counts.tolist(), first_identity)
        for image in range(count)
    ]


def further(items: Sequence[Item], num_images: int) -> list[Item]:
    """Images of the same identities that are not among `items`, equally many of each, sorted by identity."""
    counts = Counter(item.identity for item in items)
    return [Item(identity, count + image) for identity, count in sorted(counts.items()) for image in range(num_images)]


def balanced_pairs(items: Sequence[Item], num_pairs: int, *, seed: int) -> list[Pair]:
    """Verification pairs (left, right, same, fold) of positions in `items`; see `draw_pairs`."""
    return draw_pairs(np.array([item.identity for item in items]), num_pairs, seed=seed)


@dataclass
class Renderer:
    """Makes the JPEG of an item; the same bytes in any process.

    Args:
        size: side of the square picture, pixels.
        quality: of the JPEG, 1 to 100.
        seed: of the generated world: another seed, other people.
        reuse: None, or how many pictures all items share: for tests of scale, nobody can be told apart any more.
    """

    size: int = 112
    quality: int = 95
    seed: int = 0
    reuse: int | None = None
    _pool: dict[int, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments before any work is handed out."""
        if self.size < 16:
            raise ConfigError(f"size must be at least 16 pixels, got {self.size}; 112 is what recipes use")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality must be in [1, 100], got {self.quality}; 95 hardly shows")
        if self.reuse is not None and self.reuse < 1:
            raise ConfigError(f"reuse must be at least 1 picture, got {self.reuse}; leave it out to render every item")

    def __call__(self, item: Item) -> bytes:
        """The picture of an item, JPEG."""
        if self.reuse is None:
            return self._encoded(item.identity, item.image)
        number = (item.identity + item.image) % self.reuse
        if number not in self._pool:
            self._pool[number] = self._encoded(number, 0)
        return self._pool[number]

    def __getstate__(self) -> dict[str, object]:
        """Without the pool: a worker fills its own."""
        return {**self.__dict__, "_pool": {}}

    def _encoded(self, identity: int, image: int) -> bytes:
        pixels = render_face(self.seed, identity, image, self.size)
        return simplejpeg.encode_jpeg(pixels, quality=self.quality, colorspace="RGB", colorsubsampling="420")


@dataclass(frozen=True)
class Pictures:
    """Items as a source. A worker is sent the renderer alone, and items chunk by chunk."""

    renderer: Renderer
    planned: Sequence[Item]

    def items(self) -> Iterator[Item]:
        """All items."""
        return iter(self.planned)

    def make(self, item: Item) -> Face:
        """The picture of an item."""
        return Face(identity_name(item.identity), self.renderer(item))

    def __len__(self) -> int:
        return len(self.planned)

    def __getstate__(self) -> dict[str, object]:
        """Without the items."""
        return {"renderer": self.renderer, "planned": ()}
