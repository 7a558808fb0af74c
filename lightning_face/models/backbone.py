"""What every network here is: images in, one feature vector per image out."""

from collections.abc import Iterable
from difflib import get_close_matches

from torch import Tensor, nn

from lightning_face.errors import ConfigError

USUAL_IMAGE_SIZES = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 288, 384)
"""Sides of face crops in pixels, tried when an error has to name sizes that work."""


class Backbone(nn.Module):
    """A network from face crops to features; subclasses define `forward`.

    Args:
        embedding_dim: length D of a feature vector.
        image_size: side of the square images, in pixels.
    """

    def __init__(self, *, embedding_dim: int, image_size: int) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.image_size = image_size

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Features of normalised images.

        Args:
            images_BCHW: (B, in_channels, image_size, image_size) float, contiguous or channels_last.

        Returns:
            (B, D) float, not normalised to unit length.
        """
        raise NotImplementedError


def side_after_halvings(image_size: int, num_halvings: int) -> int:
    """Side of the map after that many 3x3 convolutions of stride 2 and padding 1, each of which rounds up."""
    return -(-image_size // (1 << num_halvings))


def check_min_image_size(image_size: int, *, smallest: int, name: str) -> None:
    """Refuse images that a convolutional network would shrink to one pixel before its last stage.

    Raises:
        ConfigError: `image_size` is below `smallest`; names sizes that work.
    """
    if image_size < smallest:
        first, second, third = [size for size in (64, 96, 112, 160) if size >= smallest][:3]
        raise ConfigError(
            f"image_size must be at least {smallest} for {name}, got {image_size}: use {first}, {second} or {third}"
        )


def unknown_name_error(name: str, *, own: Iterable[str], timm: Iterable[str]) -> ConfigError:
    """The error for a backbone nobody has, naming the nearest of the known ones: our own, and timm's."""
    nearest = get_close_matches(name.lower(), [*own, *timm], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(nearest)}?" if nearest else "see timm.list_models() for the names"
    return ConfigError(f"backbone must be {', '.join(own)} or a timm model, got {name!r}: {hint}")
