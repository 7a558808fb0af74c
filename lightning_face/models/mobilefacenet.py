"""MobileFaceNet: under a million parameters, for phones and for quick experiments.

Source: Chen et al., "MobileFaceNets", arXiv 1804.07573, Table 1. The paper trains with weight decay 4e-5, but 4e-4 on
the layers after the last map.
"""

from typing import NamedTuple

from torch import Tensor, nn

from lightning_face.models.backbone import Backbone, check_min_image_size, side_after_halvings

SMALLEST_IMAGE = 16
STEM_CHANNELS = 64
LAST_CHANNELS = 512


class Bottlenecks(NamedTuple):
    """A row of the paper's table: `repeats` inverted residual blocks, the first of them with `stride`."""

    expansion: int
    channels: int
    repeats: int
    stride: int


BOTTLENECKS = (
    Bottlenecks(expansion=2, channels=64, repeats=5, stride=2),
    Bottlenecks(expansion=4, channels=128, repeats=1, stride=2),
    Bottlenecks(expansion=2, channels=128, repeats=6, stride=1),
    Bottlenecks(expansion=4, channels=128, repeats=1, stride=2),
    Bottlenecks(expansion=2, channels=128, repeats=2, stride=1),
)


def _conv(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, linear: bool = False
) -> nn.Sequential:
    """Convolution without bias, BN, and PReLU unless linear; padded to keep the side at stride 1."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*layers if linear else [*layers, nn.PReLU(out_channels)])


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; plus the input where the shape allows it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: channels inside, as a multiple of `in_channels`.
        stride: of the depthwise convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.layers = nn.Sequential(
            _conv(in_channels, inner, 1),
            _conv(inner, inner, 3, stride=stride, groups=inner),
            _conv(inner, out_channels, 1, linear=True),
        )
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.layers(x)
        return x + out if self.adds_input else out


class MobileFaceNet(Backbone):
    """MobileFaceNet; its global depthwise convolution is as large as the last map, 7x7 for 112 pixels.

    Args:
        embedding_dim: length of a feature vector; 128 in the paper.
        image_size: side of the images in pixels, at least 16; 112 in the paper.
        in_channels: channels of the images.
        dropout: probability of dropping a value before the last layer, in [0, 1); the paper has none.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, *, embedding_dim: int, image_size: int, in_channels: int, dropout: float) -> None:
        super().__init__(embedding_dim=embedding_dim, image_size=image_size)
        check_min_image_size(image_size, smallest=SMALLEST_IMAGE, name="mobilefacenet")
        self.stem = nn.Sequential(
            _conv(in_channels, STEM_CHANNELS, 3, stride=2),
            _conv(STEM_CHANNELS, STEM_CHANNELS, 3, groups=STEM_CHANNELS),
        )
        self.blocks = _blocks()
        self.expand = _conv(BOTTLENECKS[-1].channels, LAST_CHANNELS, 1)
        map_side = side_after_halvings(image_size, num_halvings=4)
        # Linear GDConv: one kernel per channel over the whole map weighs parts of the face that pooling would average.
        self.gdconv = nn.Sequential(
            nn.Conv2d(LAST_CHANNELS, LAST_CHANNELS, map_side, groups=LAST_CHANNELS, bias=False),
            nn.BatchNorm2d(LAST_CHANNELS),
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(LAST_CHANNELS, embedding_dim, bias=False)
        self.features = nn.BatchNorm1d(embedding_dim)
        self._init_weights()

    def _init_weights(self) -> None:
        """He's normal by fan-out, as insightface's mobilefacenet.py has it: the paper does not say."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        map_BCHW = self.expand(self.blocks(self.stem(images_BCHW)))
        x = self.dropout(self.gdconv(map_BCHW).flatten(1))
        features_BD: Tensor = self.features(self.fc(x))
        return features_BD


def _blocks() -> nn.Sequential:
    blocks: list[nn.Module] = []
    channels = STEM_CHANNELS
    for row in BOTTLENECKS:
        for i in range(row.repeats):
            stride = row.stride if i == 0 else 1
            blocks.append(InvertedResidual(channels, row.channels, expansion=row.expansion, stride=stride))
            channels = row.channels
    return nn.Sequential(*blocks)
