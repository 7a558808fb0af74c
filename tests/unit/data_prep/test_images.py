"""Any image file in, an RGB JPEG out."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data_prep.images import RejectedImage, check_jpeg, to_jpeg

Encode = Callable[..., bytes]


def pixels(data: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, strict=True).astype(int)


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize("size", [0, 24])
def test_an_rgb_jpeg_that_needs_no_change_is_copied(encode: Encode, options: dict[str, object], size: int) -> None:
    data = encode(**options)
    assert to_jpeg(data, size, 95) is data


def test_upright_exif_is_copied(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = encode(exif=exif)
    assert to_jpeg(data, 0, 95) is data


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_resize(encode: Encode, mode: str) -> None:
    data = encode(mode=mode)
    assert check_jpeg(to_jpeg(data, 16, 95)) == (16, 16)


def test_resize_keeps_proportions_by_cutting_the_longer_sides(encode: Encode) -> None:
    image = Image.new("RGB", (60, 20), "red")
    image.paste((0, 0, 255), (20, 0, 40, 20))
    middle = pixels(to_jpeg(png(image), 20, 95))
    assert middle.shape == (20, 20, 3)
    assert np.abs(middle - (0, 0, 255)).mean() < 10


def test_orientation_is_applied(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows are columns
    data = encode(size=(32, 16), exif=exif)
    turned = np.rot90(pixels(encode(size=(32, 16), quality=75)), -1)
    result = to_jpeg(data, 0, 100)
    assert check_jpeg(result) == (32, 16)
    assert np.abs(pixels(result) - turned).mean() < 3
    assert to_jpeg(result, 0, 95) is result


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_become_rgb(encode: Encode, mode: str) -> None:
    result = to_jpeg(encode(mode=mode, quality=95), 0, 95)
    assert simplejpeg.decode_jpeg_header(result)[2] == "YCbCr"
    expected = encode(mode="L" if mode == "L" else "RGB", quality=95)
    assert np.abs(pixels(result) - pixels(expected)).mean() < 4


@pytest.mark.parametrize("format", ["PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
def test_other_formats(encode: Encode, format: str) -> None:
    result = to_jpeg(encode(size=(32, 32), format=format), 0, 95)
    expected = pixels(encode(size=(32, 32), quality=95))
    assert np.abs(pixels(result) - expected).mean() < 12


@pytest.mark.parametrize("format", ["PNG", "PPM"])
def test_sixteen_bits_are_scaled_not_cut_off(format: str) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((16, 16), 0x8000, dtype=np.uint16)).save(file, format)
    assert np.abs(pixels(to_jpeg(file.getvalue(), 0, 95)) - 128).max() <= 1


def test_transparent_pixels_become_black() -> None:
    rgba = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert pixels(to_jpeg(png(rgba), 0, 95)).max() <= 2
    grey = Image.new("LA", (16, 16), (255, 0))
    assert pixels(to_jpeg(png(grey), 0, 95)).max() <= 2
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([255, 255, 255])
    assert pixels(to_jpeg(png(palette, transparency=0), 0, 95)).max() <= 2
    assert pixels(to_jpeg(png(palette), 0, 95)).min() >= 253


def test_black_and_white() -> None:
    assert pixels(to_jpeg(png(Image.new("1", (16, 16), 1)), 0, 95)).min() >= 253


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
def test_truncated(encode: Encode, format: str) -> None:
    data = encode(size=(64, 64), format=format)
    with pytest.raises(RejectedImage):
        to_jpeg(data[: len(data) // 2], 0, 95)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"<html>not found</html>", "known format"), (b"\xff\xd8\xff", "JPEG")]
)
def test_no_image(data: bytes, reason: str) -> None:
    with pytest.raises(RejectedImage, match=reason):
        to_jpeg(data, 0, 95)


@pytest.mark.parametrize("size", [(8001, 8001), (20000, 20000)])
def test_decompression_bombs_are_not_decoded(size: tuple[int, int]) -> None:
    header = struct.pack(">2I5B", *size, 8, 2, 0, 0, 0)
    bomb = bytearray(png(Image.new("RGB", (8, 8))))
    bomb[16:29] = header
    bomb[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(RejectedImage, match=r"more than|exceeds limit"):
        to_jpeg(bytes(bomb), 0, 95)


def test_large_jpegs_are_not_decoded(encode: Encode) -> None:
    data = bytearray(encode())
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">2H", 60000, 60000)
    with pytest.raises(RejectedImage, match="60000 x 60000 pixels are more than"):
        to_jpeg(bytes(data), 0, 95)


def test_floating_point_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(file, "TIFF")
    with pytest.raises(RejectedImage, match="floating-point"):
        to_jpeg(file.getvalue(), 0, 95)


def test_quality(encode: Encode) -> None:
    data = encode(size=(64, 64), format="PNG")
    assert len(to_jpeg(data, 32, 30)) < len(to_jpeg(data, 32, 95))
