"""What becomes of the faces that a source has: whose are kept, and how they lie in shards."""

from dataclasses import dataclass

Option = str | int | float | None
"""The value of an option that decides the bytes of a dataset, as it is recorded."""

DEFAULT_SHARD_SAMPLES = 4096
"""About 30 MB of faces at 112x112: seconds of work to lose, few files, and enough of them to spread over workers."""


@dataclass(frozen=True)
class Recipe:
    """Decides the bytes of a dataset, with the faces; recorded, so that parts can be merged without their source.

    Args:
        min_images: identities with fewer images are left out: unusable, excluded and duplicate ones do not count.
        max_identities: keep those with the most images, of equal ones the first by name; None keeps all.
        near_duplicates: pairs of images of an identity whose perceptual hashes differ in so many of 64 bits at most are
            listed; None lists none.
        exclude: names of identities to leave out.
        seed: of the order of the samples.
        shard_samples: images in a shard, at most.
        shuffle: spread the samples over the shards; without it they keep the source's order.
        keep_all: leave out nothing, duplicates neither, and take an unusable image for an error: ids of a verification
            set must not move.
    """

    min_images: int = 1
    max_identities: int | None = None
    near_duplicates: int | None = None
    exclude: tuple[str, ...] = ()
    seed: int = 0
    shard_samples: int = DEFAULT_SHARD_SAMPLES
    shuffle: bool = True
    keep_all: bool = False
