"""Faces brought to one place: from five landmarks to ArcFace's template, or from a box around the face.

The second door to OpenCV: `rendering` draws, this warps photographs.
Shapes: H, W pixels of a photograph, S of a face; N points, each x (to the right) and y (down), whole at pixel centres.
"""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_prep.images import RejectedImage

Pixels = NDArray[np.uint8]
Points = NDArray[np.float64]

TEMPLATE_52: Points = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where ArcFace has the left eye, right eye, nose and corners of the mouth (left as the viewer sees it)."""

TEMPLATE_SIZE = 112
"""Height and width of the face that `TEMPLATE_52` lies in, pixels."""

MAX_COORDINATE = 1e6
"""What lies farther away, or is no number, is no place in an image."""

MAX_SIDE = 32_766
"""OpenCV 4 warps no larger images."""

cv2.setNumThreads(1)  # workers are processes


def align_to_landmarks(image_HW3: Pixels, landmarks: ArrayLike, size: int) -> Pixels:
    """A face with its landmarks on ArcFace's template, as nearly as rotation, scale and shift bring them there.

    Args:
        image_HW3: (H, W, 3) uint8.
        landmarks: (5, 2) or (10,): left eye, right eye, nose, left and right corner of the mouth, pixels.
        size: S, pixels; the template grows with it.

    Returns:
        (S, S, 3) uint8, black where the photograph ends.

    Raises:
        RejectedImage: the landmarks are one point or no places, or the face lies outside of the photograph.

    Source: Deng et al., ArcFace (CVPR 2019); the template is that of insightface.
    """
    landmarks_52 = _coordinates(landmarks)
    return _warped(image_HW3, similarity(landmarks_52, TEMPLATE_52 * (size / TEMPLATE_SIZE)), size)


def align_to_box(image_HW3: Pixels, box: ArrayLike, margin: float, size: int) -> Pixels:
    """A square around a box, which is in its middle.

    Args:
        image_HW3: (H, W, 3) uint8.
        box: (4,) left, top, width and height, pixels.
        margin: by how much the square is larger than the longer side of the box: 0.3 is 30 %.
        size: S, pixels.

    Returns:
        (S, S, 3) uint8, black where the photograph ends.

    Raises:
        RejectedImage: the box is empty or no place, or the face lies outside of the photograph.
    """
    corner_2, extent_2 = _coordinates(box)
    if not (extent_2 > 0).all():
        raise RejectedImage("the box of the face is empty")
    scale = size / (extent_2.max() * (1 + margin))
    # Edges of pixels lie half a pixel beside their centres.
    shift_2 = size / 2 - 0.5 - scale * (corner_2 + extent_2 / 2 - 0.5)
    return _warped(image_HW3, np.column_stack([scale * np.eye(2), shift_2]), size)


def similarity(start_N2: Points, end_N2: Points) -> Points:
    """Rotation, scale and shift, without reflection, that bring points nearest to others in least squares.

    In the plane, Umeyama's problem is the regression of one complex number on another: z is turned and scaled by a
    factor, and shifted.

    Args:
        start_N2: (N, 2) float64.
        end_N2: (N, 2) float64.

    Returns:
        (2, 3) float64: end = [:, :2] @ start + [:, 2].

    Raises:
        RejectedImage: the points to start from are one.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns (PAMI 1991).
    """
    start_N, end_N = start_N2 @ [1, 1j], end_N2 @ [1, 1j]
    from_mean_N = start_N - start_N.mean()
    spread = np.vdot(from_mean_N, from_mean_N).real
    if spread < 1e-9:
        raise RejectedImage("the landmarks of the face are one point")
    factor = np.vdot(from_mean_N, end_N - end_N.mean()) / spread
    shift = end_N.mean() - factor * start_N.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def _coordinates(values: ArrayLike) -> Points:
    points_N2 = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    if not (np.abs(points_N2) < MAX_COORDINATE).all():
        raise RejectedImage("the place of the face is not given in pixels")
    return points_N2


def _warped(image_HW3: Pixels, transform_23: Points, size: int) -> Pixels:
    height, width = image_HW3.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise RejectedImage(f"{width} x {height} pixels cannot be aligned: a side has more than {MAX_SIDE:,}")
    linear_22, shift_2 = transform_23[:, :2], transform_23[:, 2]
    scale = np.sqrt(np.linalg.det(linear_22))
    if not scale > 0:
        raise RejectedImage("the landmarks of the face have no orientation")
    middle_2 = np.linalg.solve(linear_22, size / 2 - shift_2)
    if not ((middle_2 >= 0) & (middle_2 <= (width, height))).all():
        raise RejectedImage(f"the face lies outside of the {width} x {height} pixels")
    image_HW3, transform_23 = _shrunk(image_HW3, transform_23, int(1 / scale))
    face = cv2.warpAffine(image_HW3, transform_23, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(face, dtype=np.uint8)


def _shrunk(image_HW3: Pixels, transform_23: Points, times: int) -> tuple[Pixels, Points]:
    """A photograph made so many times smaller by averaging, and the transform from there.

    Interpolation looks at four pixels only: of a face more than twice as large as wanted it would take single ones.
    """
    if times < 2:
        return image_HW3, transform_23
    height, width = (max(1, side // times) for side in image_HW3.shape[:2])
    pixels_2 = np.array([image_HW3.shape[1] / width, image_HW3.shape[0] / height])
    linear_22, shift_2 = transform_23[:, :2], transform_23[:, 2]
    smaller = cv2.resize(image_HW3, (width, height), interpolation=cv2.INTER_AREA)
    # The centre of pixel i lay at (i + 1/2) pixels_2 - 1/2.
    transform_23 = np.column_stack([linear_22 * pixels_2, shift_2 + linear_22 @ ((pixels_2 - 1) / 2)])
    return np.asarray(smaller, dtype=np.uint8), transform_23
