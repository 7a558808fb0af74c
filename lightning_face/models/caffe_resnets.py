"""The residual networks without normalisation that SphereFace, CosFace and the code of center loss were trained with.

Sources: Liu et al., "SphereFace", CVPR 2017, Table 2, with the initial weights of github.com/wy1iu/sphereface,
sphereface_model.prototxt (the sphereface_64_model.prototxt there has a unit less than the table);
github.com/ydwen/caffe-face, face_train_test.prototxt ("Face-ResNet", 27 convolutions; the paper's own network, with
locally connected layers, was not released). All of them double the learning rate of biases, which is not done here.

Their input is 112 x 96, the middle columns of a face that is aligned to ArcFace's template of 112 x 112, which is
theirs moved 8 pixels to the right: so the networks take the middle six sevenths of square images.
"""

from torch import Tensor, nn

from lightning_face.models.backbone import Backbone, check_min_image_size
from lightning_face.models.caffe_layers import conv_prelu, plain_units, xavier_

STAGE_CHANNELS = (64, 128, 256, 512)
UNITS_PER_STAGE = {"sphereface20": (1, 2, 4, 1), "sphereface64": (3, 8, 16, 3)}
SMALLEST_IMAGE = 16

_STEM_CHANNELS = 32
_FACE_RESNET_UNITS = (1, 2, 5, 3)
_FACE_RESNET_SMALLEST_IMAGE = 40


def columns_of(image_size: int) -> int:
    """How many of the columns the networks see: 96 of 112."""
    return image_size * 6 // 7


class CaffeResNet(Backbone):
    """What they share: the middle columns of the image, stages, and a linear layer to the features.

    Args:
        stages: from images to the last map.
        map_values: numbers in the last map of an image.
        embedding_dim: length of a feature vector; 512 in the sources.
        image_size: side of the images in pixels; 112 in the sources.
        dropout: probability of dropping a value of the last map, in [0, 1); the sources have none.
    """

    def __init__(
        self, stages: nn.Sequential, map_values: int, *, embedding_dim: int, image_size: int, dropout: float
    ) -> None:
        super().__init__(embedding_dim=embedding_dim, image_size=image_size)
        self.stages = stages
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(map_values, embedding_dim)
        xavier_(self.fc)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        num_columns = columns_of(self.image_size)
        middle = images_BCHW.narrow(3, (self.image_size - num_columns) // 2, num_columns)
        features_BD: Tensor = self.fc(self.dropout(self.stages(middle).flatten(1)))
        return features_BD


class SphereNet(CaffeResNet):
    """SphereFace's networks of 20 and 64 convolutions: a stage begins with a convolution of stride 2.

    Args:
        name: sphereface20 or sphereface64.
        embedding_dim: see `CaffeResNet`.
        image_size: see `CaffeResNet`; at least 16.
        in_channels: channels of the images.
        dropout: see `CaffeResNet`.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, name: str, *, embedding_dim: int, image_size: int, in_channels: int, dropout: float) -> None:
        check_min_image_size(image_size, smallest=SMALLEST_IMAGE, name=name)
        stages: list[nn.Module] = []
        inputs = (in_channels, *STAGE_CHANNELS)
        for before, channels, units in zip(inputs, STAGE_CHANNELS, UNITS_PER_STAGE[name], strict=False):
            stages += [conv_prelu(before, channels, 3, stride=2, padding=1), plain_units(channels, units)]
        height, width = (_side_after_strides(side) for side in (image_size, columns_of(image_size)))
        size = {"embedding_dim": embedding_dim, "image_size": image_size}
        super().__init__(nn.Sequential(*stages), STAGE_CHANNELS[-1] * height * width, **size, dropout=dropout)


class FaceResNet(CaffeResNet):
    """Face-ResNet of 27 convolutions: those that widen the map are not padded, and a 2x2 pool follows each.

    Args:
        embedding_dim: see `CaffeResNet`.
        image_size: see `CaffeResNet`; at least 40.
        in_channels: channels of the images.
        dropout: see `CaffeResNet`.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, *, embedding_dim: int, image_size: int, in_channels: int, dropout: float) -> None:
        check_min_image_size(image_size, smallest=_FACE_RESNET_SMALLEST_IMAGE, name="face_resnet27")
        stages: list[nn.Module] = [conv_prelu(in_channels, _STEM_CHANNELS, 3)]
        inputs = (_STEM_CHANNELS, *STAGE_CHANNELS)
        for before, channels, units in zip(inputs, STAGE_CHANNELS, _FACE_RESNET_UNITS, strict=False):
            pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
            stages += [conv_prelu(before, channels, 3), pool, plain_units(channels, units)]
        height, width = (_side_after_pools(side) for side in (image_size, columns_of(image_size)))
        size = {"embedding_dim": embedding_dim, "image_size": image_size}
        super().__init__(nn.Sequential(*stages), STAGE_CHANNELS[-1] * height * width, **size, dropout=dropout)


def _side_after_strides(side: int) -> int:
    """After four convolutions of stride 2 and padding 1, which round up."""
    return -(-side // 16)


def _side_after_pools(side: int) -> int:
    """After the convolution of the stem, then four times a convolution and a pool that rounds up."""
    side -= 2
    for _ in STAGE_CHANNELS:
        side = -(-(side - 2) // 2)
    return side
