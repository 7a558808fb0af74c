"""Faces brought to ArcFace's template, or into the middle of a square."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.alignment import TEMPLATE_52, align_to_box, align_to_landmarks, similarity
from data_prep.images import RejectedImage


def spots(points_N2: np.ndarray, shape: tuple[int, int], radius: float) -> np.ndarray:
    """White discs with soft edges on black."""
    y_HW, x_HW = np.mgrid[: shape[0], : shape[1]]
    image_HW = np.zeros(shape)
    for x, y in points_N2:
        image_HW = np.maximum(image_HW, np.clip(radius + 0.5 - np.hypot(x_HW - x, y_HW - y), 0, 1))
    return np.repeat((255 * image_HW).astype(np.uint8)[..., None], 3, axis=2)


def moved(points_N2: np.ndarray, scale: float, angle_rad: float, shift_2: np.ndarray) -> np.ndarray:
    turn_22 = np.array([[np.cos(angle_rad), -np.sin(angle_rad)], [np.sin(angle_rad), np.cos(angle_rad)]])
    return scale * points_N2 @ turn_22.T + shift_2


@given(
    scale=st.floats(0.05, 20),
    angle_rad=st.floats(-np.pi, np.pi),
    shift=st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_similarity_is_found_again(scale: float, angle_rad: float, shift: tuple, seed: int) -> None:
    generator = np.random.default_rng(seed)
    points_52 = TEMPLATE_52 + generator.uniform(-10, 10, (5, 2))
    transform_23 = similarity(points_52, moved(points_52, scale, angle_rad, np.array(shift)))
    at_random_92 = generator.uniform(-500, 500, (9, 2))
    expected_92 = moved(at_random_92, scale, angle_rad, np.array(shift))
    np.testing.assert_allclose(at_random_92 @ transform_23[:, :2].T + transform_23[:, 2], expected_92, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_points_that_fit_no_similarity_are_met_in_least_squares(seed: int) -> None:
    start_52, end_52 = np.random.default_rng(seed).normal(size=(2, 5, 2)) * 30
    x_5, y_5 = start_52.T
    one_5, zero_5 = np.ones(5), np.zeros(5)
    # Unknown: scale times cosine, scale times sine, shift.
    equations = np.block([[x_5, y_5], [-y_5, x_5], [one_5, zero_5], [zero_5, one_5]]).T
    a, b, shift_x, shift_y = np.linalg.lstsq(equations, end_52.T.ravel())[0]
    np.testing.assert_allclose(similarity(start_52, end_52), [[a, -b, shift_x], [b, a, shift_y]], atol=1e-9)


@pytest.mark.parametrize("size", [64, 112, 224])
@pytest.mark.parametrize(("scale", "angle_rad"), [(0.7, 0.3), (1.7, -0.5), (4.3, 0.1), (7.0, 3.0)])
def test_landmarks_come_to_the_template(scale: float, angle_rad: float, size: int) -> None:
    landmarks_52 = moved(TEMPLATE_52, scale, angle_rad, np.zeros(2))
    landmarks_52 += 20 * scale - landmarks_52.min(axis=0)
    height, width = np.ceil(landmarks_52.max(axis=0) + 20 * scale).astype(int)[::-1]
    face = align_to_landmarks(spots(landmarks_52, (height, width), 4 * scale), landmarks_52.ravel(), size)
    expected = spots(TEMPLATE_52 * (size / 112), (size, size), 4 * size / 112)
    assert face.shape == (size, size, 3) and face.dtype == np.uint8
    for (x, y), near in [((x, y), 8 * size / 112) for x, y in TEMPLATE_52 * (size / 112)]:
        window = np.s_[int(y - near) : int(y + near), int(x - near) : int(x + near), 0]
        np.testing.assert_allclose(centroid(face[window]), centroid(expected[window]), atol=0.15)


def centroid(grey_HW: np.ndarray) -> np.ndarray:
    y_HW, x_HW = np.mgrid[: grey_HW.shape[0], : grey_HW.shape[1]]
    return np.array([(grey_HW * x_HW).sum(), (grey_HW * y_HW).sum()]) / grey_HW.sum()


def test_a_fine_pattern_becomes_grey_not_noise() -> None:
    stripes = np.zeros((900, 900, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    face = align_to_landmarks(stripes, TEMPLATE_52 * 8, 112)
    assert np.abs(face[4:-4, 4:-4].astype(int) - 128).max() <= 32


@pytest.mark.parametrize("size", [56, 100, 200])
def test_a_box_comes_to_the_middle(size: int) -> None:
    image = np.zeros((100, 120, 3), dtype=np.uint8)
    image[20:70, 30:70] = 255  # 50 high, 40 wide
    face = align_to_box(image, (30, 20, 40, 50), 1.0, size)
    assert face[size // 2, size // 2].tolist() == [255] * 3
    # Twice the longer side: the box takes half the height and two fifths of the width, around the middle.
    np.testing.assert_allclose((face[:, size // 2, 0] / 255).sum(), size / 2, atol=0.51)
    np.testing.assert_allclose((face[size // 2, :, 0] / 255).sum(), 0.4 * size, atol=0.51)
    np.testing.assert_allclose(centroid(face[..., 0]), [(size - 1) / 2] * 2, atol=0.1)


def test_a_box_of_the_whole_image_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(align_to_box(image, (0, 0, 32, 32), 0.0, 32), image)


def test_outside_of_the_photograph_it_is_black() -> None:
    face = align_to_box(np.full((40, 40, 3), 255, dtype=np.uint8), (0, 0, 40, 40), 1.0, 40)
    assert face[0].max() == 0 and face[20, 20].min() == 255


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (np.full((5, 2), 7.3), "one point"),
        (np.full((5, 2), np.nan), "not given in pixels"),
        (np.where(TEMPLATE_52 > 90, np.inf, TEMPLATE_52), "not given in pixels"),
        (TEMPLATE_52 + 500, "outside of the 200 x 100 pixels"),
        (TEMPLATE_52 * 1e200, "not given in pixels"),
    ],
)
def test_landmarks_that_cannot_be(landmarks: np.ndarray, reason: str) -> None:
    with pytest.raises(RejectedImage, match=reason):
        align_to_landmarks(np.zeros((100, 200, 3), dtype=np.uint8), landmarks, 112)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, 0, 9), "empty"),
        ((5, 5, np.nan, 9), "not given"),
        ((90, 5, 40, 40), "outside"),
        ((np.nan, 0, 9, 9), "not given"),
    ],
)
def test_boxes_that_cannot_be(box: tuple, reason: str) -> None:
    with pytest.raises(RejectedImage, match=reason):
        align_to_box(np.zeros((100, 100, 3), dtype=np.uint8), box, 0.3, 112)


def test_images_too_wide_for_opencv() -> None:
    with pytest.raises(RejectedImage, match="40000 x 112 pixels cannot be aligned"):
        align_to_landmarks(np.zeros((112, 40_000, 3), dtype=np.uint8), TEMPLATE_52, 112)
