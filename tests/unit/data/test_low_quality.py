"""Crops and low resolution against one image at a time: loops, and OpenCV."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_face.data.low_quality import (
    AREA,
    BLACK,
    CUBIC,
    LANCZOS,
    LINEAR,
    NEAREST,
    NUM_INTERPOLATIONS,
    crop,
    lower_resolution,
    resampling,
)
from lightning_face.hashing import uniform

OF_OPENCV = {
    NEAREST: cv2.INTER_NEAREST,
    LINEAR: cv2.INTER_LINEAR,
    AREA: cv2.INTER_AREA,
    CUBIC: cv2.INTER_CUBIC,
    LANCZOS: cv2.INTER_LANCZOS4,
}


def images(batch: int, size: int) -> Tensor:
    return (torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1) * 127.5 / 128


def draws(batch: int, number: int) -> Tensor:
    return torch.from_numpy(uniform(1, np.arange(batch)[:, None], np.arange(number))).float()


def cropped_slowly(image: Tensor, drawn: list[float], probability: float, least_area: float) -> Tensor:
    whether, area, aspect, x, y = drawn
    if whether >= probability:
        return image
    size = image.shape[-1]
    area, aspect = least_area + (1 - least_area) * area, math.exp((2 * aspect - 1) * math.log(4 / 3))
    width = min(size, round(size * math.sqrt(area * aspect)))
    height = min(size, round(size * math.sqrt(area / aspect)))
    left, top = int(x * (size - width + 1)), int(y * (size - height + 1))
    result = torch.full_like(image, BLACK)
    result[:, top : top + height, left : left + width] = image[:, top : top + height, left : left + width]
    return result


def test_crop_equals_one_image_at_a_time() -> None:
    batch, table = images(200, 15), draws(200, 5)
    expected = [cropped_slowly(image, drawn, 0.6, 0.2) for image, drawn in zip(batch, table.tolist(), strict=True)]
    assert torch.equal(crop(batch, table, 0.6, 0.2), torch.stack(expected))


def test_crops_have_the_area_that_was_asked_for_and_lie_anywhere() -> None:
    kept = crop(torch.ones(2000, 1, 112, 112), draws(2000, 5), 1.0, 0.2)[:, 0] == 1.0
    shares = kept.float().mean((1, 2))
    assert 0.19 < shares.min() < 0.22 and shares.max() <= 1.0
    assert all(0 < kept[:, row, column].sum() < 2000 for row in (0, 111) for column in (0, 111))


@pytest.mark.parametrize("kind", OF_OPENCV)
@pytest.mark.parametrize(("before", "after"), [(24, 5), (24, 12), (24, 17), (24, 24), (5, 24), (12, 24), (17, 24)])
def test_resampling_is_that_of_opencv(kind: int, before: int, after: int) -> None:
    """Away from the border, where OpenCV repeats the last pixel; nearest, linear and area there too."""
    line = np.random.default_rng(1).random((1, before)).astype(np.float32)
    expected = cv2.resize(line, (after, 1), interpolation=OF_OPENCV[kind])[0]
    matrix = resampling(torch.tensor([kind]), torch.tensor([float(before)]), torch.tensor([float(after)]), 24)[0]
    result = (matrix[:, :before] @ torch.from_numpy(line[0])).numpy()
    reach = math.ceil({CUBIC: 2, LANCZOS: 4}.get(kind, 0) * after / before)
    inner = slice(reach, after - reach)
    assert result[:after][inner] == pytest.approx(expected[inner], abs=1e-3)
    assert not result[after:].any() and not matrix[:, before:].any()
    assert matrix[:after].sum(1).numpy() == pytest.approx(np.ones(after), abs=1e-5)


@pytest.mark.parametrize("shrink", [NEAREST, LINEAR, AREA])
@pytest.mark.parametrize("enlarge", [NEAREST, LINEAR, AREA])
def test_low_resolution_is_that_of_opencv(shrink: int, enlarge: int) -> None:
    """The side is a share of 20 pixels, rounded down."""
    kinds = [(kind + 0.5) / NUM_INTERPOLATIONS for kind in (shrink, enlarge)]
    result = lower_resolution(images(1, 20), torch.tensor([[0.1, 0.58, *kinds]]), 0.2, 0.2)[0]
    pixels = images(1, 20)[0].permute(1, 2, 0).numpy()
    small = cv2.resize(pixels, (13, 13), interpolation=OF_OPENCV[shrink])
    expected = cv2.resize(small, (20, 20), interpolation=OF_OPENCV[enlarge])
    assert result.permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1e-4)


def test_low_resolution_stays_within_black_and_white_and_leaves_the_others_alone() -> None:
    batch, table = images(300, 16).sign() * 127.5 / 128, draws(300, 4)
    result = lower_resolution(batch, table, 0.5, 0.2)
    assert result.abs().max() <= 127.5 / 128
    is_left = table[:, 0] >= 0.5
    assert torch.equal(result[is_left], batch[is_left]) and 100 < is_left.sum() < 200
    none = torch.ones(4, 4)
    assert torch.equal(lower_resolution(batch[:4], none, 0.5, 0.2), batch[:4])
