"""The only door to Pillow and simplejpeg: any image file in, an RGB JPEG out, damaged ones refused."""

import io
import warnings

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lightning_face.data.manifest import MAX_PIXELS

MAX_FILE_BYTES = 256_000_000
"""Longer files are refused unread: four bytes for each of the most pixels."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})
"""File names, in lower case, that are taken for images."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
_OTHER_COLORS = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}


class RejectedImage(Exception):
    """An image that cannot be used; its text is the reason."""


def check_jpeg(data: bytes) -> tuple[int, int]:
    """Decode a JPEG as strictly as training does.

    Returns:
        Height and width, pixels.

    Raises:
        RejectedImage: it is damaged, no JPEG, or too large.
    """
    height, width = _decode_strictly(data)[0].shape[:2]
    return height, width


def _decode_strictly(data: bytes) -> tuple[NDArray[np.uint8], bool]:
    """Pixels of a JPEG, and whether they are RGB (rather than grey or CMYK)."""
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(width, height)
        asked = _OTHER_COLORS.get(colors, "RGB")
        return simplejpeg.decode_jpeg(data, colorspace=asked, strict=True), asked == "RGB"
    except ValueError as error:
        raise RejectedImage(f"damaged JPEG: {error}") from error


def check_length(size: int) -> None:
    """Refuse a file by its length, before it is read.

    Args:
        size: bytes.

    Raises:
        RejectedImage: it is too long for an image.
    """
    if size > MAX_FILE_BYTES:
        raise RejectedImage(f"{size:,} bytes are more than {MAX_FILE_BYTES:,}")


def to_pixels(data: bytes) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of an image file, red green blue, upright.

    Raises:
        RejectedImage: it is empty, damaged, of an unknown format, or too large.
    """
    return _read(data)[0]


def to_jpeg(data: bytes, size: int, quality: int) -> bytes:
    """Bytes of an RGB JPEG that shows the image upright.

    A JPEG that already is what is asked for comes back untouched: encoding it again would only lose quality. Otherwise
    the largest centred square is resized, so that faces keep their proportions.

    Args:
        data: contents of the image file.
        size: height and width wanted, pixels; 0 keeps the image's own.
        quality: of JPEGs that have to be encoded, 1 to 100.

    Raises:
        RejectedImage: it is empty, damaged, of an unknown format, or too large.
    """
    pixels, is_as_stored = _read(data)
    if size and pixels.shape[:2] != (size, size):
        fitted = ImageOps.fit(Image.fromarray(pixels), (size, size), method=Image.Resampling.LANCZOS)
        return encode_jpeg(np.asarray(fitted), quality)
    return data if is_as_stored else encode_jpeg(pixels, quality)


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Bytes of the JPEG of (H, W, 3) RGB pixels, or of (H, W) grey ones."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def _read(data: bytes) -> tuple[NDArray[np.uint8], bool]:
    """RGB pixels, upright, and whether the file is a JPEG that holds just these."""
    if not data:
        raise RejectedImage("empty file")
    if data.startswith(b"\xff\xd8"):
        # Pillow decodes damaged JPEGs without a word; whatever training would refuse is refused here.
        pixels, is_rgb = _decode_strictly(data)
        if is_rgb and _is_upright(data):
            return pixels, True
    return np.asarray(_decode(data)), False


def thumbnail(data: bytes, size: int) -> NDArray[np.uint8]:
    """A small picture of an image.

    Returns:
        (size, size, 3), RGB, of its largest centred square.

    Raises:
        RejectedImage: it cannot be decoded.
    """
    return np.asarray(ImageOps.fit(_decode(data), (size, size)))


def perceptual_hash(data: bytes) -> int:
    """64 bits of an image's lowest frequencies (pHash): images that look the same differ in few of them.

    Raises:
        RejectedImage: it cannot be decoded.
    """
    # It brings scipy, which takes a moment to load, and few ask for hashes.
    import imagehash

    return int.from_bytes(np.packbits(imagehash.phash(_decode(data)).hash).tobytes())


def _is_upright(data: bytes) -> bool:
    # Most crops carry no EXIF; looking for it costs less than Pillow's parser.
    if b"Exif\0\0" not in data:
        return True
    try:
        with Image.open(io.BytesIO(data)) as image:
            return bool(image.getexif().get(_ORIENTATION_TAG, _UPRIGHT) == _UPRIGHT)
    except Exception:  # unreadable EXIF has no orientation to apply; the pixels decoded well
        return True


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise RejectedImage(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")


def _decode(data: bytes) -> Image.Image:
    """The image, upright, in mode RGB."""
    try:
        with warnings.catch_warnings():
            # Pillow's own warnings (bombs, odd EXIF, palette transparency) are met by our checks or do not matter here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                _check_size(*image.size)
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except RejectedImage:
        raise
    except UnidentifiedImageError as error:
        raise RejectedImage("not an image of a known format") from error
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise RejectedImage(f"cannot be decoded: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise RejectedImage("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):
        # Pillow's conversion cuts 16-bit values off at 255 instead of scaling them.
        pixels = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(pixels, 0, 0xFFFF) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        # Over black, the border colour of aligned crops; dropping alpha would show whatever lay hidden under it.
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image.convert("RGB")
