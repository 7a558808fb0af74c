"""IResNet: the improved residual networks that face recognition is usually trained with.

Source: layers, names and initial weights follow insightface, recognition/arcface_torch/backbones/iresnet.py, so that
its weights load; the block is from Duta et al., "Improved Residual Networks", arXiv 2004.04989, and the end of BN,
dropout, FC, BN is option E of Deng et al., "ArcFace", arXiv 1801.07698v1, section 3.2.
"""

from torch import Tensor, nn

from lightning_face.models.backbone import Backbone, check_min_image_size, side_after_halvings

BLOCKS_PER_STAGE = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}
STEM_CHANNELS = 64
STAGE_CHANNELS = (64, 128, 256, 512)
SMALLEST_IMAGE = 16


class IBasicBlock(nn.Module):
    """BN, conv3x3, BN, PReLU, conv3x3, BN, plus the input; no activation after the sum.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the second convolution, and of the 1x1 shortcut that stands where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: Tensor = self.bn3(self.conv2(x)) + shortcut
        return out


class IResNet(Backbone):
    """An improved residual network; its map is a sixteenth of the image, 7x7 for 112 pixels.

    The scale of the last batch norm is frozen at 1: the losses normalise features, so it would only drift.

    Args:
        name: one of iresnet18, iresnet34, iresnet50, iresnet100.
        embedding_dim: length of a feature vector.
        image_size: side of the images in pixels, at least 16. Published weights are for 112.
        in_channels: channels of the images.
        dropout: probability of dropping a value of the last map, in [0, 1).

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, name: str, *, embedding_dim: int, image_size: int, in_channels: int, dropout: float) -> None:
        super().__init__(embedding_dim=embedding_dim, image_size=image_size)
        check_min_image_size(image_size, smallest=SMALLEST_IMAGE, name=name)
        self.conv1 = nn.Conv2d(in_channels, STEM_CHANNELS, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.prelu = nn.PReLU(STEM_CHANNELS)
        blocks = BLOCKS_PER_STAGE[name]
        self.layer1 = _stage(STEM_CHANNELS, STAGE_CHANNELS[0], blocks[0])
        self.layer2 = _stage(STAGE_CHANNELS[0], STAGE_CHANNELS[1], blocks[1])
        self.layer3 = _stage(STAGE_CHANNELS[1], STAGE_CHANNELS[2], blocks[2])
        self.layer4 = _stage(STAGE_CHANNELS[2], STAGE_CHANNELS[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(STAGE_CHANNELS[3])
        self.dropout = nn.Dropout(dropout)
        map_side = side_after_halvings(image_size, num_halvings=4)
        self.fc = nn.Linear(STAGE_CHANNELS[3] * map_side**2, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad_(False)
        self._init_weights()

    def _init_weights(self) -> None:
        """Convolutions N(0, 0.1); batch norms keep torch's 1 and 0, the last of a block too; FC keeps torch's own."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, mean=0.0, std=0.1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        x = self.prelu(self.bn1(self.conv1(images_BCHW)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x)).flatten(1)
        features_BD: Tensor = self.features(self.fc(x))
        return features_BD


def _stage(in_channels: int, out_channels: int, num_blocks: int) -> nn.Sequential:
    first = IBasicBlock(in_channels, out_channels, stride=2)
    return nn.Sequential(first, *(IBasicBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)))
