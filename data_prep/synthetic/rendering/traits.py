"""Vectors of uniform numbers with names: each field of a traits class declares the range of its number."""

from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lightning_face.hashing import Key, uniform

Traits = TypeVar("Traits")


def between(low: float, high: float) -> Any:  # like dataclasses.field, it stands where a float is declared
    """A field whose value is drawn uniformly from [low, high)."""
    return field(metadata={"range": (low, high)})


@cache
def _ranges(traits: Any) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.array([trait.metadata["range"] for trait in fields(traits)]).T
    return np.arange(len(low)), low, high - low


def draw_traits(traits: type[Traits], *keys: Key) -> Traits:
    """All fields of a traits class, from one vectorised hash of the keys and the number of the field."""
    numbers, low, width = _ranges(cast(Hashable, traits))
    return traits(*(low + width * uniform(*keys, numbers)).tolist())


@dataclass(frozen=True)
class Identity:
    """What stays the same in all images of one person; lengths in pixels of a 112 x 112 crop, angles in radians.

    Eyes lie at y = 0, the mouth near y = 41; x, y, z point right, down and to the viewer.
    """

    # skull and jaw
    temple_width: float = between(35.0, 44.0)  # half widths
    cheek_width: float = between(37.0, 48.0)
    jaw_width: float = between(23.0, 41.0)
    jaw_height: float = between(36.0, 49.0)
    chin_width: float = between(7.0, 20.0)
    chin_height: float = between(59.0, 74.0)
    chin_bump: float = between(0.0, 5.0)
    cheekbone: float = between(-1.0, 5.0)
    ear_size: float = between(7.0, 14.0)
    # eyes
    eye_distance: float = between(14.0, 21.5)  # from the middle of the face
    eye_width: float = between(5.4, 9.4)
    eye_open: float = between(2.0, 5.0)
    eye_tilt: float = between(-0.3, 0.24)
    eye_peak: float = between(-0.45, 0.45)  # where along the upper lid it is highest
    lid_crease: float = between(-1.5, 3.5)  # none where negative
    iris_size: float = between(2.6, 3.8)
    iris_tone: float = between(0.0, 1.0)
    eye_depth: float = between(0.0, 4.5)
    # brows
    brow_height: float = between(6.5, 13.5)
    brow_length: float = between(6.5, 11.5)
    brow_thickness: float = between(0.7, 3.5)
    brow_tilt: float = between(-0.2, 0.32)
    brow_arch: float = between(-0.5, 4.5)
    brow_shift: float = between(-2.5, 2.5)
    brow_taper: float = between(0.1, 0.9)
    # nose
    nose_length: float = between(15.0, 26.0)
    nose_width: float = between(4.6, 10.8)
    nose_bridge: float = between(1.8, 4.2)
    nose_relief: float = between(2.0, 6.5)
    nose_tip: float = between(2.4, 5.4)
    nostril: float = between(0.6, 2.0)
    # mouth
    mouth_height: float = between(34.5, 47.0)
    mouth_width: float = between(8.5, 17.0)
    upper_lip: float = between(1.0, 4.6)
    lower_lip: float = between(1.6, 6.0)
    cupid_bow: float = between(0.0, 1.0)
    mouth_curve: float = between(-3.0, 1.6)
    philtrum: float = between(0.0, 2.0)
    # skin
    melanin: float = between(0.0, 1.0)
    redness: float = between(-1.0, 1.0)
    fold_depth: float = between(-1.0, 1.5)  # from nose to mouth corner; none where negative
    mole_1_x: float = between(-30.0, 30.0)
    mole_1_y: float = between(10.0, 52.0)
    mole_1_size: float = between(-1.2, 1.8)
    mole_2_x: float = between(-32.0, 32.0)
    mole_2_y: float = between(-22.0, 36.0)
    mole_2_size: float = between(-1.8, 1.8)
    # hair
    hair_tone: float = between(0.0, 1.0)
    hair_redness: float = between(-1.0, 1.0)
    hairline: float = between(-46.0, -26.0)
    hairline_peak: float = between(-6.0, 7.0)
    parting: float = between(-22.0, 22.0)
    hair_volume: float = between(2.0, 12.0)
    sideburn: float = between(-16.0, 22.0)
    hair_length: float = between(-0.9, 1.0)  # long where positive
    beard: float = between(-1.2, 0.9)  # none where negative
    moustache: float = between(-1.6, 0.9)


@dataclass(frozen=True)
class Nuisance:
    """What changes from image to image; lengths in pixels of a 112 x 112 crop, angles in radians, chances in [0, 1)."""

    # pose and crop
    yaw: float = between(-0.4, 0.4)
    pitch: float = between(-0.14, 0.14)
    roll: float = between(-0.12, 0.12)
    log_scale: float = between(-0.06, 0.06)
    shift_x: float = between(-2.5, 2.5)
    shift_y: float = between(-2.5, 2.5)
    # expression
    smile: float = between(-0.6, 1.4)
    jaw_drop: float = between(-7.0, 5.0)  # mouth closed where negative
    brow_raise: float = between(-1.0, 1.5)
    eye_closure: float = between(0.78, 1.12)
    blink: float = between(0.0, 1.0)
    gaze_x: float = between(-1.8, 1.8)
    gaze_y: float = between(-0.9, 0.9)
    # light
    light_azimuth: float = between(-1.15, 1.15)
    light_elevation: float = between(-0.3, 1.0)
    ambient: float = between(0.5, 0.75)
    diffuse: float = between(0.35, 0.85)
    relief: float = between(0.5, 1.0)
    # camera
    log_exposure: float = between(-0.24, 0.28)
    log_gamma: float = between(-0.3, 0.2)
    cast_warm: float = between(-0.18, 0.18)
    cast_green: float = between(-0.1, 0.1)
    saturation: float = between(-0.1, 1.6)  # grey where negative
    blur: float = between(0.0, 0.85)
    motion: float = between(0.0, 1.0)
    noise: float = between(0.0, 6.0)
    noise_x: float = between(0.0, 1.0)
    noise_y: float = between(0.0, 1.0)
    # background and clothes
    scene: float = between(0.0, 1.0)
    scene_color: float = between(0.05, 0.6)
    clothes_red: float = between(10.0, 245.0)
    clothes_green: float = between(10.0, 245.0)
    clothes_blue: float = between(10.0, 245.0)
    collar: float = between(6.0, 22.0)
    # hair and make-up of the day
    hair_puff: float = between(-2.0, 4.0)
    hair_wind: float = between(-4.0, 4.0)
    fringe: float = between(-3.0, 6.0)
    hair_tied: float = between(0.0, 1.0)
    hair_dye: float = between(-0.25, 0.25)
    tan: float = between(-0.12, 0.12)
    lipstick: float = between(-1.0, 0.6)
    shaved: float = between(0.0, 1.0)
    # things in the way
    glasses: float = between(0.0, 1.0)
    glasses_size: float = between(9.0, 13.0)
    glasses_tone: float = between(0.0, 1.0)
    hat: float = between(0.0, 1.0)
    hat_height: float = between(-36.0, -20.0)
    occluder: float = between(0.0, 1.0)
    occluder_x: float = between(-1.0, 1.0)
    occluder_y: float = between(-1.0, 1.0)
    occluder_angle: float = between(-0.8, 0.8)
