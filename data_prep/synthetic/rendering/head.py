"""The head at rest: named outlines in three dimensions, from an identity and the expression of the moment.

Lengths are pixels of a 112 x 112 crop. A point is (x, y, height): x and y point right and down, the eyes lie at y = 0,
and height is measured to the viewer from the curved front of the face (`pose.depth`).
"""

import numpy as np

from data_prep.synthetic.rendering.curves import CIRCLE, Points, ellipse, mirrored, smooth
from data_prep.synthetic.rendering.traits import Identity, Nuisance

Shapes = dict[str, Points]
SIDES = {"left": -1.0, "right": 1.0}


def raised(x: Points, y: Points, height: float = 0.0) -> Points:
    """(N, 3) points, all at one height."""
    points = np.empty((len(x), 3))
    points[:, 0], points[:, 1], points[:, 2] = x, y, height
    return points


def mouth_opening(nuisance: Nuisance) -> float:
    """How far the lips are apart, in pixels."""
    return max(0.0, nuisance.jaw_drop)


def skull(who: Identity, when: Nuisance) -> Shapes:
    """Head, ears, neck and shoulders."""
    drop = 0.6 * mouth_opening(when)
    half = [
        (0.0, -70.0, -14.0),
        (0.62 * who.temple_width, -61.0, -10.0),
        (who.temple_width, -30.0, -3.0),
        (who.cheek_width, 2.0, -2.0),
        (0.55 * who.cheek_width + 0.45 * who.jaw_width + 0.4 * who.cheekbone, 22.0, -3.0),
        (who.jaw_width, who.jaw_height + 0.3 * drop, -3.0),
        (who.chin_width, who.chin_height - 3.5 + drop, -1.0),
        (0.0, who.chin_height + drop, 0.0),
    ]
    neck = [
        (0.82 * who.jaw_width * side, y, -22.0) for side, y in ((-1, 30.0), (1, 30.0), (1.06, 110.0), (-1.06, 110.0))
    ]
    top = 66.0 + when.collar
    shoulders = [
        (0.0, top + 6.0, -20.0),
        (0.8 * who.jaw_width, top - 4.0, -20.0),
        (62.0, top + 12.0, 0.0),
        (80.0, 150.0, 30.0),
    ]
    shapes = {
        "head": smooth(mirrored(half)),
        "neck": np.array(neck),
        "shoulders": smooth(mirrored([*shoulders, (0.0, 150.0, 0.0)])),
    }
    for name, side in SIDES.items():
        shapes[f"ear {name}"] = ellipse(side * (who.cheek_width + 0.5), 9.0, -12.0, 0.5 * who.ear_size, who.ear_size)
    return shapes


def beard(who: Identity, when: Nuisance) -> Shapes:
    """Beard along the jaw and moustache, of those who have them."""
    drop = 0.6 * mouth_opening(when)
    shapes = {}
    if who.beard > 0.0:
        half = [
            (0.0, who.mouth_height + who.lower_lip + 1.5 + drop, 0.0),
            (who.mouth_width + 3.0, who.mouth_height + 4.0, 0.0),
            (who.jaw_width - 5.0, who.mouth_height - 10.0, 0.0),
            (who.cheek_width - 2.5, 12.0, -1.0),
            (who.cheek_width - 0.5, 8.0, -2.0),
            (who.jaw_width + 0.5, who.jaw_height + 0.3 * drop, -3.0),
            (who.chin_width, who.chin_height - 2.5 + drop, -1.0),
            (0.0, who.chin_height + 1.0 + drop, 0.0),
        ]
        shapes["beard"] = smooth(mirrored(half))
    if who.moustache > 0.0:
        bottom = who.mouth_height - who.upper_lip - 0.4
        top = max(who.nose_length + 3.5, bottom - 6.0)
        reach = who.mouth_width + 1.0
        half = [
            (0.0, top, 4.0),
            (0.6 * reach, top + 0.8, 3.0),
            (reach, bottom + 2.5, 2.0),
            (0.5 * reach, bottom + 0.8, 3.0),
        ]
        shapes["moustache"] = smooth(mirrored([*half, (0.0, bottom, 3.0)]))
    return shapes


def marks(who: Identity) -> Shapes:
    """The moles."""
    places = ((who.mole_1_x, who.mole_1_y, who.mole_1_size), (who.mole_2_x, who.mole_2_y, who.mole_2_size))
    shapes = {}
    for number, (x, y, size) in enumerate(places, start=1):
        circle = CIRCLE * max(size, 0.0) + (x, y)
        shapes[f"mole {number}"] = raised(circle[:, 0], circle[:, 1])
    return shapes
