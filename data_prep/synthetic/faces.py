"""Generated faces: a picture is a pure function of (seed, identity number, image number).

An *identity vector* says what a person looks like, a *nuisance vector* how that person was photographed. Identity is
carried by the geometry of the head and the shape of its features; colours are at the mercy of light and wardrobe.
"""

from data_prep.synthetic.rendering import features, head, outfit
from data_prep.synthetic.rendering.camera import photograph, scene
from data_prep.synthetic.rendering.canvas import Image
from data_prep.synthetic.rendering.head import Shapes
from data_prep.synthetic.rendering.light import bumps, light_map
from data_prep.synthetic.rendering.paint import paint_head, paint_outfit
from data_prep.synthetic.rendering.pose import REST_SIZE, posed
from data_prep.synthetic.rendering.traits import Identity, Nuisance, draw_traits

_HAT, _GLASSES, _OCCLUDER = 0.07, 0.14, 0.08
"""Shares of the images with a hat, with glasses, and with something before the face."""


def identity_of(seed: int, identity: int) -> Identity:
    """The looks of a person."""
    return draw_traits(Identity, seed, "identity", identity)


def nuisance_of(seed: int, identity: int, image: int) -> Nuisance:
    """The circumstances of one image of a person."""
    return draw_traits(Nuisance, seed, "nuisance", identity, image)


def _shapes(who: Identity, when: Nuisance) -> Shapes:
    shapes = head.skull(who, when) | head.beard(who, when) | head.marks(who)
    shapes |= (
        features.eyes(who, when) | features.brows(who, when) | features.nose(who, when) | features.mouth(who, when)
    )
    shapes |= outfit.hair(who, when)
    if when.hat < _HAT:
        shapes |= outfit.hat(who, when)
    if when.glasses < _GLASSES:
        shapes |= outfit.glasses(who, when)
    return shapes | outfit.occluder(when) if when.occluder < _OCCLUDER else shapes


def render_face(seed: int, identity: int, image: int, size: int = REST_SIZE) -> Image:
    """The picture of one person at one moment.

    Args:
        seed: of the whole generated world.
        identity: number of the person.
        image: number of the person's image.
        size: side of the square crop, pixels.

    Returns:
        (size, size, 3) uint8, red green blue.
    """
    who, when = identity_of(seed, identity), nuisance_of(seed, identity, image)
    relief = bumps(who)
    shapes = posed(_shapes(who, when) | {"bumps": relief[:, :3]}, who, when, size)
    unit = size / REST_SIZE
    canvas = scene(when, size, seed, identity, image)
    paint_head(canvas, shapes, who, when, unit)
    canvas = paint_outfit(canvas, shapes, when, unit)
    light = light_map(relief, shapes["bumps"], shapes["head"], when, unit, size)
    return photograph(canvas, light, when, unit)
