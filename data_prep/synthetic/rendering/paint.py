"""Painting: every posed outline in its colour, from the background to what covers the face."""

from itertools import cycle

import numpy as np

from data_prep.synthetic.rendering.canvas import Color, Image, blended, fill, ribbon, stroke
from data_prep.synthetic.rendering.curves import SWEEP
from data_prep.synthetic.rendering.head import SIDES, Shapes, mouth_opening
from data_prep.synthetic.rendering.traits import Identity, Nuisance

_WHITE_OF_EYE = (226.0, 220.0, 214.0)
_TEETH = (228.0, 222.0, 208.0)
_INSIDE_MOUTH = (66.0, 20.0, 22.0)
_DARK = (24.0, 18.0, 18.0)
_LIP = (188.0, 74.0, 82.0)


def mixed(first: Color, second: Color, share: float) -> Color:
    """`share` of the second colour in the first."""
    red, green, blue = ((1.0 - share) * one + share * other for one, other in zip(first, second, strict=True))
    return (red, green, blue)


def skin_color(who: Identity, when: Nuisance) -> Color:
    """Skin between very fair and very dark, tanned a little from image to image."""
    melanin = min(max(who.melanin + when.tan, 0.0), 1.0)
    red, green, blue = mixed((238.0, 198.0, 174.0), (116.0, 76.0, 56.0), melanin)
    return (red, green - 5.0 * who.redness, blue - 4.0 * who.redness)


def hair_color(who: Identity, when: Nuisance) -> Color:
    """Hair between black, brown, red and fair."""
    tone = min(max(who.hair_tone + when.hair_dye, 0.0), 1.0) ** 2
    red, green, blue = mixed((30.0, 24.0, 22.0), (214.0, 180.0, 120.0), tone)
    return (red + 20.0 * max(who.hair_redness, 0.0), green, blue - 12.0 * who.hair_redness * tone)


def clothes_color(when: Nuisance) -> Color:
    """Whatever was in the wardrobe."""
    return (when.clothes_red, when.clothes_green, when.clothes_blue)


def paint_head(image: Image, shapes: Shapes, who: Identity, when: Nuisance, unit: float) -> None:
    """Neck, clothes, head and all that is on it, in place; `unit`: pixels of the crop per pixel of a 112 x 112 crop."""
    skin, hair = skin_color(who, when), hair_color(who, when)
    if who.hair_length > 0.0 and when.hair_tied > 0.45:
        fill(image, shapes["hair behind"], mixed(hair, _DARK, 0.3))
    fill(image, shapes["neck"], mixed(skin, _DARK, 0.28))
    fill(image, shapes["shoulders"], clothes_color(when))
    for side in SIDES:
        fill(image, shapes[f"ear {side}"], mixed(skin, _DARK, 0.16))
    fill(image, shapes["head"], skin)
    _paint_beard(image, shapes, who, when)
    _paint_nose(image, shapes, who, skin)
    _paint_mouth(image, shapes, when, skin)
    for number in (1, 2):
        fill(image, shapes[f"mole {number}"], mixed(skin, (70.0, 36.0, 26.0), 0.8))
    _paint_eyes(image, shapes, who, skin)
    for side in SIDES:
        thickness = who.brow_thickness * (1.0 - 0.5 * who.brow_taper * (1.0 + SWEEP)) * unit
        fill(image, ribbon(shapes[f"brow {side}"], thickness), mixed(mixed(hair, _DARK, 0.35), skin, 0.2))
    _paint_hair(image, shapes, hair)


def _paint_beard(image: Image, shapes: Shapes, who: Identity, when: Nuisance) -> None:
    skin, hair = skin_color(who, when), hair_color(who, when)
    strength = 0.3 if when.shaved < 0.35 else 0.9
    for name, thickness in (("beard", who.beard), ("moustache", who.moustache)):
        if name in shapes:
            fill(image, shapes[name], mixed(skin, mixed(hair, _DARK, 0.3), strength * (0.25 + 0.75 * thickness)))


def _paint_nose(image: Image, shapes: Shapes, who: Identity, skin: Color) -> None:
    shade = mixed(skin, (70.0, 30.0, 24.0), 0.42)
    stroke(image, shapes["tip"], mixed(skin, shade, 0.7))
    for side in SIDES:
        stroke(image, shapes[f"wing {side}"], shade)
        fill(image, shapes[f"nostril {side}"], mixed(skin, (40.0, 14.0, 12.0), 0.75))
        if who.fold_depth > 0.0:
            stroke(image, shapes[f"fold {side}"], mixed(skin, shade, 0.55 * who.fold_depth))


def _paint_mouth(image: Image, shapes: Shapes, when: Nuisance, skin: Color) -> None:
    lip = mixed(mixed(skin, _LIP, 0.45), (190.0, 20.0, 50.0), max(when.lipstick, 0.0))
    fill(image, shapes["upper lip"], mixed(lip, _DARK, 0.12))
    fill(image, shapes["lower lip"], lip)
    if mouth_opening(when) > 0.3:
        fill(image, shapes["mouth"], _INSIDE_MOUTH)
        fill(image, shapes["teeth"], _TEETH)
    stroke(image, shapes["lip line"], mixed(lip, _INSIDE_MOUTH, 0.75))


def _paint_eyes(image: Image, shapes: Shapes, who: Identity, skin: Color) -> None:
    iris = mixed((52.0, 32.0, 20.0), (120.0, 150.0, 170.0), who.iris_tone**2)
    for side in SIDES:
        fill(image, shapes[f"eye {side}"], _WHITE_OF_EYE)
        fill(image, shapes[f"iris {side}"], iris)
        fill(image, shapes[f"pupil {side}"], _DARK)
        if who.lid_crease > 0.0:
            stroke(image, shapes[f"crease {side}"], mixed(skin, _DARK, 0.35))
        stroke(image, shapes[f"lid {side}"], mixed(skin, _DARK, 0.85))


def _paint_hair(image: Image, shapes: Shapes, hair: Color) -> None:
    fill(image, shapes["hair"], hair)
    shades = cycle([mixed(hair, (255.0, 240.0, 220.0), 0.12), mixed(hair, _DARK, 0.25)])
    for name, path in shapes.items():
        if name.startswith("strand"):
            stroke(image, path, next(shades))


def paint_outfit(image: Image, shapes: Shapes, when: Nuisance, unit: float) -> Image:
    """Hat, glasses and anything that hides a part of the face."""
    cloth = clothes_color(when)
    if "hat" in shapes:
        fill(image, shapes["hat"], mixed(cloth, (128.0, 128.0, 128.0), 0.3))
        fill(image, ribbon(shapes["rim"], np.array(2.0 * unit)), mixed(cloth, _DARK, 0.5))
    if "bridge" in shapes:
        image = _with_glasses(image, shapes, when, unit)
    if "occluder" in shapes:
        fill(image, shapes["occluder"], mixed(cloth, (160.0, 120.0, 100.0), 0.5))
    return image


def _with_glasses(image: Image, shapes: Shapes, when: Nuisance, unit: float) -> Image:
    """Clear or dark lenses in their frame."""
    frame = mixed(_DARK, (170.0, 130.0, 80.0), when.glasses_tone)
    tinted = image.copy()
    for side in SIDES:
        fill(tinted, shapes[f"lens {side}"], (40.0, 36.0, 40.0) if when.glasses < 0.03 else (210.0, 215.0, 225.0))
    image = blended(tinted, image, 0.8 if when.glasses < 0.03 else 0.12)
    for side in SIDES:
        lens = shapes[f"lens {side}"]
        fill(image, ribbon(np.concatenate([lens, lens[:1]]), np.array(0.7 * unit)), frame)
        stroke(image, shapes[f"arm {side}"], frame)
    stroke(image, shapes["bridge"], frame)
    return image
