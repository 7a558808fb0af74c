"""LeNets++: the small network of center loss's pictures of digits.

Source: Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, Table 1. Where
the authors' code differs from the table it is followed, since the pictures are its: the last pool is 3x3, and a PReLU
follows the features (github.com/ydwen/caffe-face, mnist_example/mnist_train_test.prototxt). It doubles the learning
rate of biases, which is not done here.
"""

from torch import Tensor, nn

from lightning_face.models.backbone import Backbone, check_min_image_size
from lightning_face.models.caffe_layers import conv_prelu, xavier_

STAGE_CHANNELS = (32, 64, 128)
SMALLEST_IMAGE = 12


class LeNetsPlusPlus(Backbone):
    """Six 5x5 convolutions with a pool after each second; the map of 28 pixels is 3x3.

    Args:
        embedding_dim: length of a feature vector; 2 in the paper.
        image_size: side of the images in pixels, at least 12; 28 in the paper.
        in_channels: channels of the images; 1 in the paper.
        dropout: probability of dropping a value of the last map, in [0, 1); the paper has none.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, *, embedding_dim: int, image_size: int, in_channels: int, dropout: float) -> None:
        super().__init__(embedding_dim=embedding_dim, image_size=image_size)
        check_min_image_size(image_size, smallest=SMALLEST_IMAGE, name="lenets_plus_plus")
        layers: list[nn.Module] = []
        for inputs, outputs in zip((in_channels, *STAGE_CHANNELS), STAGE_CHANNELS, strict=False):
            pool = nn.MaxPool2d(3 if outputs == STAGE_CHANNELS[-1] else 2, stride=2, ceil_mode=True)
            layers += [conv_prelu(inputs, outputs, 5, padding=2), conv_prelu(outputs, outputs, 5, padding=2), pool]
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        map_side = _side_of_map(image_size)
        self.fc = nn.Linear(STAGE_CHANNELS[-1] * map_side**2, embedding_dim)
        xavier_(self.fc)
        self.prelu = nn.PReLU(embedding_dim)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        features_BD: Tensor = self.prelu(self.fc(self.dropout(self.layers(images_BCHW).flatten(1))))
        return features_BD


def _side_of_map(image_size: int) -> int:
    """After two pools of 2x2 and one of 3x3, all rounding up."""
    side = -(-image_size // 4)
    return -(-(side - 3) // 2) + 1
