"""The features of the face at rest: eyes, brows, nose and mouth, as named outlines in the frame of `head`."""

import numpy as np

from data_prep.synthetic.rendering.curves import CIRCLE, SWEEP, Points, ellipse, smooth
from data_prep.synthetic.rendering.head import SIDES, Shapes, mouth_opening, raised
from data_prep.synthetic.rendering.traits import Identity, Nuisance

_MIRROR = {"left": np.array([-1.0, 1.0, 1.0]), "right": np.array([1.0, 1.0, 1.0])}
_THERE_AND_BACK = np.concatenate([SWEEP, SWEEP[::-1]])


def eyes(who: Identity, when: Nuisance) -> Shapes:
    """Openings, irises, pupils, lids and creases of both eyes."""
    lift = who.eye_open * (0.12 if when.blink < 0.03 else when.eye_closure)
    bulge = lift * (1.0 - SWEEP * SWEEP)
    upper, lower = -bulge * (1.0 + who.eye_peak * SWEEP), 0.55 * bulge

    def placed(s: Points, y: Points, height: float) -> Points:
        x = who.eye_width * s
        return raised(who.eye_distance + x, y + who.eye_tilt * x, height)

    one = {
        "eye": placed(_THERE_AND_BACK, np.concatenate([upper, lower[::-1]]), -3.0),
        "lid": placed(1.06 * SWEEP, upper - 0.2, -2.5),
        "crease": placed(1.02 * SWEEP, upper - who.lid_crease, -1.5),
    }
    shapes = {f"{part} {name}": points * mirror for part, points in one.items() for name, mirror in _MIRROR.items()}
    for part, radius in (("iris", who.iris_size), ("pupil", 0.45 * who.iris_size)):
        for name, side in SIDES.items():
            circle = CIRCLE * radius + (side * when.gaze_x, when.gaze_y - 0.25 * lift)
            s = np.clip(circle[:, 0] / who.eye_width, -0.97, 0.97)
            y = np.clip(circle[:, 1], np.interp(s, SWEEP, upper), np.interp(s, SWEEP, lower))
            shapes[f"{part} {name}"] = placed(s, y, -3.0) * _MIRROR[name]
    return shapes


def brows(who: Identity, when: Nuisance) -> Shapes:
    """Middle lines of both brows, from the nose outwards."""
    x = who.eye_distance + who.brow_shift + who.brow_length * SWEEP
    arch = who.brow_arch * (1.0 - (SWEEP - 0.25) ** 2)
    y = who.brow_tilt * who.brow_length * SWEEP - who.brow_height - arch - when.brow_raise
    return {f"brow {name}": raised(side * x, y, 2.0) for name, side in SIDES.items()}


def nose(who: Identity, when: Nuisance) -> Shapes:
    """Nostrils, wings and the edge below the tip; folds from the wings to the corners of the mouth."""
    width, length = who.nose_width, who.nose_length
    smile = max(0.0, when.smile)
    shapes = {
        "tip": smooth(
            [(-0.5 * width, length + 1.0, 6.0), (0.0, length + 2.6, 9.0), (0.5 * width, length + 1.0, 6.0)], 5, False
        )
    }
    for name, side in SIDES.items():
        wing = [(0.72, -5.0), (1.0, -1.5), (0.93, 1.6), (0.55, 2.0)]
        shapes[f"wing {name}"] = smooth([(side * width * x, length + y, 3.0) for x, y in wing], 4, False)
        shapes[f"nostril {name}"] = ellipse(side * 0.5 * width, length + 1.2, 5.0, 0.26 * width, who.nostril)
        fold = [
            (width + 1.0, length - 2.0),
            (width + 4.5 + smile, length + 5.0),
            (who.mouth_width + 4.0, who.mouth_height - 1.0),
        ]
        shapes[f"fold {name}"] = smooth([(side * x, y, 0.0) for x, y in fold], 5, False)
    return shapes


def mouth(who: Identity, when: Nuisance) -> Shapes:
    """Upper and lower lip, and what is seen between them."""
    opening = mouth_opening(when)
    width = who.mouth_width + 1.2 * when.smile - 0.12 * opening
    bulge = 1.0 - SWEEP**2
    line = who.mouth_height + (who.mouth_curve - 1.2 * when.smile) * SWEEP**2
    bow = 1.0 - 0.55 * who.cupid_bow * np.exp(-((SWEEP / 0.22) ** 2))
    upper_edge = line - who.upper_lip * bow * bulge**0.7
    upper_inner = line - 0.25 * opening * bulge
    lower_inner = line + 0.9 * opening * bulge
    lower_edge = lower_inner + who.lower_lip * bulge**0.6

    def between_lines(first: Points, second: Points) -> Points:
        return raised(width * _THERE_AND_BACK, np.concatenate([first, second[::-1]]), 3.0)

    return {
        "upper lip": between_lines(upper_edge, upper_inner),
        "lower lip": between_lines(lower_inner, lower_edge),
        "mouth": between_lines(upper_inner, lower_inner),
        "teeth": between_lines(upper_inner, upper_inner + 0.45 * opening * bulge),
        "lip line": raised(1.04 * width * SWEEP, upper_inner, 3.0),
    }
