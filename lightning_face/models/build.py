"""A backbone by its name."""

from collections.abc import Callable
from functools import partial

from lightning_face.errors import ConfigError
from lightning_face.models.backbone import Backbone
from lightning_face.models.caffe_resnets import UNITS_PER_STAGE, FaceResNet, SphereNet
from lightning_face.models.inception_resnet_v1 import InceptionResNetV1
from lightning_face.models.iresnet import BLOCKS_PER_STAGE, IResNet
from lightning_face.models.lenets_plus_plus import LeNetsPlusPlus
from lightning_face.models.mobilefacenet import MobileFaceNet
from lightning_face.models.neck import check_neck

OWN: dict[str, Callable[..., Backbone]] = {
    **{name: partial(IResNet, name) for name in BLOCKS_PER_STAGE},
    "mobilefacenet": MobileFaceNet,
    "inception_resnet_v1": InceptionResNetV1,
    **{name: partial(SphereNet, name) for name in UNITS_PER_STAGE},
    "face_resnet27": FaceResNet,
    "lenets_plus_plus": LeNetsPlusPlus,
}
"""The networks that are not timm's; each has a neck of its own."""


def build_backbone(
    name: str,
    *,
    embedding_dim: int,
    image_size: int,
    in_channels: int = 3,
    dropout: float = 0.0,
    neck: str = "auto",
) -> Backbone:
    """A network from face crops to features, with fresh weights drawn from torch's default generator.

    Args:
        name: iresnet18, iresnet34, iresnet50, iresnet100, mobilefacenet, inception_resnet_v1, sphereface20,
            sphereface64, face_resnet27, lenets_plus_plus, or the name of a timm model.
        embedding_dim: length of a feature vector.
        image_size: side of the square images, in pixels.
        in_channels: channels of the images.
        dropout: probability of dropping a value before the last linear layer, in [0, 1).
        neck: what follows a timm model: flatten, pool, linear (no batch norm) or auto, see `neck.build_neck`.

    Raises:
        ConfigError: an unknown name, an option out of its range or without effect, an image size that does not fit.
    """
    _check_options(embedding_dim=embedding_dim, image_size=image_size, in_channels=in_channels, dropout=dropout)
    check_neck(neck)
    size = {"embedding_dim": embedding_dim, "image_size": image_size, "in_channels": in_channels}
    if name in OWN and neck != "auto":
        raise ConfigError(f"neck must be auto for {name}, which has its own, got {neck!r}: leave it out")
    if name in OWN:
        return OWN[name](**size, dropout=dropout)
    # Importing timm takes seconds, which jobs with one of our own networks need not spend.
    from lightning_face.models.timm_backbone import TimmBackbone, check_timm_name

    check_timm_name(name, others=tuple(OWN))
    return TimmBackbone(name, **size, dropout=dropout, neck=neck)


def _check_options(*, embedding_dim: int, image_size: int, in_channels: int, dropout: float) -> None:
    sizes = {"embedding_dim": embedding_dim, "image_size": image_size, "in_channels": in_channels}
    for option, value in sizes.items():
        if value < 1:
            raise ConfigError(f"{option} must be at least 1, got {value}: give a positive number")
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"dropout must be in [0, 1), got {dropout}: use 0 for none")
