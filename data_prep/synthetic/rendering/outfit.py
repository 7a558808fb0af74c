"""What surrounds the face: hair, hat and glasses, as named outlines in the frame of `head`."""

import numpy as np

from data_prep.synthetic.rendering.curves import ellipse, mirrored, smooth
from data_prep.synthetic.rendering.head import SIDES, Shapes
from data_prep.synthetic.rendering.traits import Identity, Nuisance


def hair(who: Identity, when: Nuisance) -> Shapes:
    """The cap of hair with its hairline, strands on it, and the hair behind the head."""
    volume = max(1.0, who.hair_volume + when.hair_puff)
    line = who.hairline + when.fringe
    temple, cheek = who.temple_width, who.cheek_width
    outer = [
        (cheek + 0.4 * volume, who.sideburn, -1.0),
        (temple + 1.0 + volume, -26.0, -3.0),
        (0.68 * temple + 0.7 * volume, -60.0 - 0.6 * volume, -10.0),
    ]
    inner = [
        (cheek - 3.5, who.sideburn, 0.0),
        (temple - 4.5, -15.0 + 0.3 * when.fringe, 2.0),
        (0.62 * temple, line + 3.0, 2.0),
    ]
    left = [(-x, y, z) for x, y, z in outer]
    left_inner = [(-x, y, z) for x, y, z in inner[::-1]]
    cap = [*left, (0.0, -68.0 - volume, -14.0), *outer[::-1], *inner]
    cap += [(who.parting + when.hair_wind, line - who.hairline_peak, 2.0), *left_inner]
    crown = (who.parting, -66.0 - volume, -8.0)
    strands = {
        f"strand {number}": smooth([crown, (0.5 * (x + who.parting), -58.0, 0.0), (x, y, 2.0)], 4, False)
        for number, (x, y, _) in enumerate(
            [*inner[1:], (0.3 * temple, line, 0.0), (-0.3 * temple, line, 0.0), *left_inner[:2]]
        )
    }
    width = cheek + 3.0 + volume
    fall = 40.0 + 60.0 * max(who.hair_length, 0.0)
    back = [
        (0.0, -66.0, -24.0),
        (0.8 * width, -50.0, -20.0),
        (width, 0.0, -14.0),
        (width + 3.0, fall, -12.0),
        (0.0, fall + 6.0, -30.0),
    ]
    return {"hair": smooth(cap), "hair behind": smooth(mirrored(back)), **strands}


def hat(who: Identity, when: Nuisance) -> Shapes:
    """A cap pulled down to the forehead, and its rim."""
    low, width = when.hat_height, who.temple_width + 5.0
    half = [
        (0.0, -80.0, 0.0),
        (0.7 * width, -72.0, -6.0),
        (1.04 * width, low - 18.0, -2.0),
        (width, low + 4.0, 0.0),
        (0.0, low, 4.0),
    ]
    rim = [
        (-width, low + 2.0, 0.0),
        (-0.5 * width, low - 2.5, 4.0),
        (0.0, low - 4.0, 5.0),
        (0.5 * width, low - 2.5, 4.0),
    ]
    return {"hat": smooth(mirrored(half)), "rim": smooth([*rim, (width, low + 2.0, 0.0)], 4, False)}


def glasses(who: Identity, when: Nuisance) -> Shapes:
    """Two lenses, the bridge between them and the arms."""
    size = when.glasses_size
    reach = who.eye_distance - size * 0.95
    shapes = {"bridge": np.array([(-reach, -1.5, 6.0), (0.0, -3.0, 8.0), (reach, -1.5, 6.0)])}
    for name, side in SIDES.items():
        shapes[f"lens {name}"] = ellipse(side * who.eye_distance, 1.5, 5.0, size, 0.8 * size)
        end = side * (who.cheek_width + 1.0)
        shapes[f"arm {name}"] = np.array([(side * (who.eye_distance + size), 0.0, 7.0), (end, 0.0, -3.0)])
    return shapes


def occluder(when: Nuisance) -> Shapes:
    """Something held before the face: a tilted slab that covers a part of it from outside."""
    middle = np.array([when.occluder_x, when.occluder_y])
    middle *= (46.0, 56.0) / (np.abs(middle).max() + 1e-6)
    cos, sin = np.cos(when.occluder_angle), np.sin(when.occluder_angle)
    corners = np.array([[-24.0, -18.0], [24.0, -18.0], [24.0, 18.0], [-24.0, 18.0]]) @ np.array(
        [[cos, sin], [-sin, cos]]
    )
    x, y = (corners + middle + (0.0, 15.0)).T
    return {"occluder": np.stack([x, y, np.full(4, 20.0)], axis=1)}
