"""`folder`: a dataset from images in one folder per identity, as LFW, CASIA-WebFace and VGGFace2 come."""

from dataclasses import dataclass
from pathlib import Path

from data_prep.images import RejectedImage, to_jpeg
from data_prep.listing import all_images, listed_images
from data_prep.people import read_people
from data_prep.plan import Option, Plan
from data_prep.writer import write_dataset
from lightning_face.data.manifest import Manifest
from lightning_face.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image of a plan: its class, its path below the source, and its length, which tells a changed file."""

    label: int
    path: str
    bytes: int

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class ImageReader:
    """Reads an image file and makes it a JPEG of the wanted size and, where it must be encoded, quality."""

    source: Path
    size: int
    quality: int

    def __call__(self, image: ImageFile) -> bytes:
        """JPEG bytes.

        Raises:
            RejectedImage: it cannot be read or decoded.
        """
        try:
            data = (self.source / image.path).read_bytes()
        except OSError as error:
            raise RejectedImage(f"cannot be read: {error.strerror}") from error
        return to_jpeg(data, self.size, self.quality)


def make_folder(
    source: Path, out: Path, *, people: Path | None, without_fold: int | None, min_images: int, size: int, quality: int,
    seed: int, shard_samples: int, workers: int,
) -> Manifest:  # fmt: skip
    """Write the dataset `out`.

    Args:
        source: folder of folders of images.
        out: folder to write.
        people: LFW's list of the identities and how many images of each to take; None takes all.
        without_fold: fold of that list to leave out, from 0; None keeps all.
        min_images: identities with fewer image files are left out.
        size: of the images, pixels; 0 keeps theirs.
        quality: of JPEGs that are encoded again.
        seed: of the order of samples.
        shard_samples: images in a shard, at most.
        workers: processes.

    Raises:
        DataError: the source holds no such folders, or lacks what the list names.
        ConfigError: `out` lies in the source, or was begun with other options.
    """
    if not source.is_dir():
        raise DataError(f"{source} is missing or no folder; SRC holds one folder of images per identity")
    if out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"{out} lies in {source}, where it would be taken for an identity; choose another place")
    if people is None and without_fold is not None:
        raise ConfigError("--without-fold has no effect without --people FILE")
    found = all_images(source) if people is None else listed_images(source, people, read_people(people, without_fold))
    kept = {name: found[name] for name in sorted(found) if len(found[name]) >= min_images}
    if not kept:
        raise DataError(f"none of the {len(found):,} identities in {source} has --min-images {min_images} images")
    items = [ImageFile(label, *image) for label, images in enumerate(kept.values()) for image in images]
    options: dict[str, Option] = {
        "command": "folder", "source": str(source.resolve()), "people": str(people.resolve()) if people else None,
        "without_fold": without_fold, "min_images": min_images, "size": size, "quality": quality,
    }  # fmt: skip
    make = ImageReader(source, size, quality)
    return write_dataset(out, Plan(items, list(kept), make, options, seed, shard_samples), workers)
