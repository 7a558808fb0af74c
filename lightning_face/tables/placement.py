"""Where the rows of a class table are: all on every rank, or shared out over the ranks."""

from typing import Any, Literal

from lightning_face.tables.centers import Centers
from lightning_face.tables.classifier import Classifier
from lightning_face.tables.replicated_centers import ReplicatedCenters
from lightning_face.tables.replicated_classifier import ReplicatedClassifier
from lightning_face.tables.sampled_classifier import SampledClassifier
from lightning_face.tables.sharded_centers import ShardedCenters
from lightning_face.tables.sharded_classifier import ShardedClassifier

Placement = Literal["auto", "replicated", "sharded"]

SMALL_TABLE_BYTES = 2**25
"""Up to 32 MiB of rows, 16,384 classes of 512 numbers, `auto` keeps a copy on every rank."""


def is_sharded(placement: Placement, num_classes: int, width: int, sample_rate: float = 1.0) -> bool:
    """Whether a float32 table of `width` numbers per class is shared out.

    The answer depends on nothing that changes when a run goes on. Classes are sampled from a sharded classifier only,
    whatever its size.
    """
    is_large = 4 * num_classes * width > SMALL_TABLE_BYTES
    return placement == "sharded" or (placement == "auto" and (is_large or sample_rate < 1.0))


def make_classifier(
    placement: Placement, num_classes: int, dim: int, *, sample_rate: float, rows_per_class: int = 1, **options: Any
) -> Classifier:
    """The classifier; see `Classifier` and `SampledClassifier` for the options."""
    if sample_rate < 1.0:
        return SampledClassifier(num_classes, dim, sample_rate=sample_rate, rows_per_class=rows_per_class, **options)
    kind = ShardedClassifier if is_sharded(placement, num_classes, rows_per_class * dim) else ReplicatedClassifier
    return kind(num_classes, dim, rows_per_class=rows_per_class, **options)


def make_centers(placement: Placement, num_classes: int, dim: int, **options: Any) -> Centers:
    """The centers; see `Centers` for the options."""
    kind = ShardedCenters if is_sharded(placement, num_classes, dim) else ReplicatedCenters
    return kind(num_classes, dim, **options)
