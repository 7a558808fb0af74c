"""Normalisation and augmentation against oracles that move whole pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_face.data.augment import NUM_DRAWS, AugmentConfig, augment, normalise
from lightning_face.errors import ConfigError
from lightning_face.hashing import uniform

FLIP, ROTATION, SCALE, SHIFT_X, SHIFT_Y, BRIGHTNESS, CONTRAST, SATURATION = range(8)
CROP, LOW_RESOLUTION, RECOLOUR = 8, 13, 17

ALWAYS_ON = AugmentConfig(
    flip=True, rotation_deg=20, scale=0.2, shift=0.1, brightness=0.2, contrast=0.3, saturation=0.4
)
EVERYTHING = replace(ALWAYS_ON, crop_probability=0.5, low_resolution_probability=0.5, recolour_probability=0.5)


def draws(batch: int = 1, **changes: float) -> Tensor:
    """Draws that change nothing (the middle of each interval), but for those named."""
    table = torch.full((batch, NUM_DRAWS), 0.5)
    for name, value in changes.items():
        table[:, globals()[name.upper()]] = value
    return table


def random_draws(batch: int, epoch: int = 0) -> Tensor:
    return torch.from_numpy(uniform(1, "augment", epoch, np.arange(batch)[:, None], np.arange(NUM_DRAWS))).float()


def images(batch: int = 1, size: int = 12) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_normalise_values() -> None:
    pixels = torch.tensor([0, 127, 128, 255], dtype=torch.uint8).reshape(1, 2, 2, 1).repeat(1, 1, 1, 3)
    expected = (torch.tensor([0.0, 127.0, 128.0, 255.0]) - 127.5) / 128
    assert torch.equal(normalise(pixels, 2)[0, 1].flatten(), expected)


def test_normalise_keeps_places_and_channels() -> None:
    pixels = torch.randint(256, (2, 5, 5, 3), dtype=torch.uint8)
    result = normalise(pixels, 5)
    assert result.shape == (2, 3, 5, 5) and result.dtype == torch.float32
    assert result[1, 2, 3, 4] == (float(pixels[1, 3, 4, 2]) - 127.5) / 128


@pytest.mark.parametrize("image_size", [8, 16, 32])
def test_normalise_scales_and_is_channels_last(image_size: int) -> None:
    pixels = torch.full((2, 16, 16, 3), 200, dtype=torch.uint8)
    result = normalise(pixels, image_size)
    assert result.shape == (2, 3, image_size, image_size)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert result.unique().tolist() == pytest.approx([72.5 / 128])


def test_halving_averages() -> None:
    pixels = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8, 1).repeat(1, 1, 1, 3)
    inner = normalise(pixels, 4)[0, 0, 1:3, 1:3] * 128 + 127.5
    blocks = torch.tensor([[22.5, 24.5], [38.5, 40.5]])
    # Antialiasing weighs the neighbours too, symmetrically: away from the border a ramp keeps its means.
    assert torch.allclose(inner, blocks, atol=0.6)


@pytest.mark.parametrize(
    "config",
    [AugmentConfig(flip=False), AugmentConfig(flip=False, brightness=0.5, contrast=0.5, recolour_probability=0.0)],
    ids=["default", "probability zero"],
)
def test_all_zero_is_the_identity(config: AugmentConfig) -> None:
    assert torch.allclose(augment(images(4), random_draws(4), config), images(4), rtol=0, atol=1e-6)


def test_draws_of_a_sample_stay_what_they_are_when_new_ones_are_added() -> None:
    expected = [0.9517052, 0.2813461, 0.1990759]
    assert random_draws(1)[0, [FLIP, SATURATION, RECOLOUR]].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("config", "draw"),
    [
        (AugmentConfig(flip=False, crop_probability=0.3, crop_area=0.5), CROP),
        (AugmentConfig(flip=False, low_resolution_probability=0.3, low_resolution_side=0.5), LOW_RESOLUTION),
        (AugmentConfig(flip=False, brightness=0.5, recolour_probability=0.3), RECOLOUR),
    ],
    ids=["crop", "low resolution", "recolour"],
)
def test_probabilities(config: AugmentConfig, draw: int) -> None:
    batch, table = images(1000, 8), random_draws(1000)
    result = augment(batch, table, config)
    is_changed = (result != batch).flatten(1).any(1)
    assert bool((is_changed <= (table[:, draw] < 0.3)).all())
    # A crop may be the whole image, and shrinking by no pixel changes nothing.
    assert 0.2 < is_changed.float().mean() < 0.3 + 5 * (0.21 / 1000) ** 0.5


def test_everything_at_once_stays_finite_and_channels_last() -> None:
    batch = images(300).contiguous(memory_format=torch.channels_last)
    for values in (random_draws(300), torch.zeros(300, NUM_DRAWS), torch.ones(300, NUM_DRAWS)):
        result = augment(batch, values, replace(EVERYTHING, crop_area=1e-6, low_resolution_side=1e-6))
        assert result.shape == batch.shape and bool(result.isfinite().all())
        assert result.is_contiguous(memory_format=torch.channels_last)


def test_middle_draws_change_nothing() -> None:
    assert torch.allclose(augment(images(2), draws(2), ALWAYS_ON), images(2), atol=1e-5)


@pytest.mark.parametrize("config", [AugmentConfig(), AugmentConfig(rotation_deg=1e-9)], ids=["flip alone", "sampled"])
def test_flips_half_of_the_images(config: AugmentConfig) -> None:
    table = random_draws(2000)
    plain, changed = images(1, 4), augment(images(1, 4).expand(2000, -1, -1, -1), table, config)
    flipped = table[:, FLIP] < 0.5
    assert torch.allclose(changed[flipped], plain.flip(3), atol=1e-5)
    assert torch.allclose(changed[~flipped], plain, atol=1e-5)
    assert flipped.float().mean() == pytest.approx(0.5, abs=5 * 0.5 / 2000**0.5)


def test_same_draws_give_the_same_image_in_any_batch() -> None:
    """World-size invariance: how samples are grouped into batches and ranks changes nothing."""
    batch, table = images(6), random_draws(6)
    together = augment(batch, table, EVERYTHING)
    alone = torch.cat([augment(batch[row : row + 1], table[row : row + 1], EVERYTHING) for row in range(6)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.equal(together, augment(batch, table, EVERYTHING))
    assert not torch.allclose(together, augment(batch, random_draws(6, epoch=1), EVERYTHING), atol=0.1)


@pytest.mark.parametrize(("x", "y"), [(2, 0), (0, 3), (-1, 2)])
def test_shift_by_whole_pixels(x: int, y: int) -> None:
    """The image is read (x, y) pixels further on; what comes in from outside repeats the border."""
    size, config = 10, AugmentConfig(flip=False, shift=0.5)
    table = draws(shift_x=0.5 + x / size, shift_y=0.5 + y / size)
    rows, columns = (torch.arange(size) + by for by in (y, x))
    expected = images(1, size)[:, :, rows.clamp(0, size - 1)][:, :, :, columns.clamp(0, size - 1)]
    assert torch.allclose(augment(images(1, size), table, config), expected, atol=1e-5)


@pytest.mark.parametrize(("draw", "turns"), [(0.0, -1), (1.0, 1)])
@pytest.mark.parametrize("flip", [0.0, 0.9])
def test_quarter_turn_and_flip(draw: float, turns: int, flip: float) -> None:
    """The largest rotation, 90 degrees here, is a turn of whole pixels; the mirror image is that of the turned one."""
    expected = torch.rot90(images(), turns, dims=(2, 3))
    expected = expected.flip(3) if flip < 0.5 else expected
    result = augment(images(), draws(rotation=draw, flip=flip), AugmentConfig(rotation_deg=90.0))
    assert torch.allclose(result, expected, atol=1e-5)


def test_rotation_and_scale_move_a_marker_where_trigonometry_says() -> None:
    size, degrees, scale = 65, 30.0, 1.25
    image = torch.zeros(1, 3, size, size)
    image[0, :, 32, 48] = 1.0  # 16 pixels right of the centre
    config = AugmentConfig(flip=False, rotation_deg=40.0, scale=0.5)
    result = augment(image, draws(rotation=0.5 + degrees / 80, scale=0.5 + 0.25 / 1.0), config)[0, 0]
    row, column = (int(index) for index in np.unravel_index(int(result.argmax()), result.shape))
    angle, radius = math.radians(degrees), 16 * scale
    expected = (32 - radius * math.sin(angle), 32 + radius * math.cos(angle))
    assert (row, column) == pytest.approx(expected, abs=1.0)


def test_brightness_adds() -> None:
    result = augment(images(), draws(brightness=0.75), AugmentConfig(flip=False, brightness=0.2))
    assert torch.allclose(result, images() + 2 * 0.2 * 0.5, atol=1e-6)


def test_contrast_scales_around_the_mean_of_the_image() -> None:
    result = augment(images(2), draws(2, contrast=0.75), AugmentConfig(flip=False, contrast=0.4))
    mean = images(2).mean(dim=(1, 2, 3), keepdim=True)
    assert torch.allclose(result, mean + 1.2 * (images(2) - mean), atol=1e-6)


def test_no_saturation_is_grey() -> None:
    result = augment(images(), draws(saturation=0.0), AugmentConfig(flip=False, saturation=1.0))
    assert torch.allclose(result, images().mean(dim=1, keepdim=True).expand(-1, 3, -1, -1), atol=1e-6)


@pytest.mark.parametrize("name", ["rotation_deg", "scale", "shift", "brightness", "contrast", "saturation"])
def test_negative_strength_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"augment\.{name} must not be negative, got -0\.1"):
        AugmentConfig(**{name: -0.1})


@pytest.mark.parametrize("value", [-0.1, 1.1])
@pytest.mark.parametrize("name", ["crop_probability", "low_resolution_probability", "recolour_probability"])
def test_probability_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"augment\.{name} must be in \[0, 1\], got {value}"):
        AugmentConfig(**{name: value})


@pytest.mark.parametrize("value", [0.0, 1.1])
@pytest.mark.parametrize("name", ["crop_area", "low_resolution_side"])
def test_share_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"augment\.{name} must be above 0 and at most 1, got {value}"):
        AugmentConfig(**{name: value})


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_scale_that_shrinks_to_nothing_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match=r"augment\.scale must be below 1, got"):
        AugmentConfig(scale=scale)
