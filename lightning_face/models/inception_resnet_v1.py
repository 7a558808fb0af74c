"""Inception-ResNet-v1 as FaceNet's public code has it: faces of 160 pixels, features from a linear layer and BN.

Sources: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", arXiv
1602.07261, figures 10 to 14; github.com/davidsandberg/facenet at 096ed77, src/models/inception_resnet_v1.py, whose
scales, batch norm and initial weights are kept. Layers and names are those of github.com/timesler/facenet-pytorch,
models/inception_resnet_v1.py, so that its weights load; like it, batch norms have a scale, which facenet's lack.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_face.models.backbone import Backbone, check_min_image_size

SMALLEST_IMAGE = 75
MAP_CHANNELS = 1792
BN_EPS = 0.001
BN_MOMENTUM = 0.005
"""Share of a batch in the running statistics; facenet's decay is 0.995."""

INIT_STD = 0.1

Side = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution without bias, BN, ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: its height and width, or both.
        stride: of the convolution.
        padding: above and left, or both.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Side, stride: int = 1, padding: Side = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=BN_EPS, momentum=BN_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W')."""
        out: Tensor = torch.relu(self.bn(self.conv(x)))
        return out


class Branches(nn.Module):
    """Branches of one input, side by side in the channels; they are named branch0, branch1, ...

    Args:
        branches: at least one.
    """

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.num_branches = len(branches)
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, sum of the branches' channels, H', W')."""
        return torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self.num_branches)], dim=1)


class ResidualBranches(Branches):
    """The input, plus a scaled 1x1 convolution of its branches.

    Args:
        branches: at least one.
        mixed_channels: of all branches together.
        channels: of input and output.
        scale: of what is added: the paper's remedy against networks that die early.
        is_last: leaves out the ReLU after the sum.
    """

    def __init__(
        self,
        branches: Sequence[nn.Module],
        mixed_channels: int,
        channels: int,
        *,
        scale: float,
        is_last: bool = False,
    ) -> None:
        super().__init__(branches)
        self.conv2d = nn.Conv2d(mixed_channels, channels, 1)
        self.scale = scale
        self.is_last = is_last

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        x = x + self.scale * self.conv2d(super().forward(x))
        return x if self.is_last else torch.relu(x)


def _block35() -> ResidualBranches:
    three = nn.Sequential(Conv(256, 32, 1), Conv(32, 32, 3, padding=1), Conv(32, 32, 3, padding=1))
    branches = (Conv(256, 32, 1), nn.Sequential(Conv(256, 32, 1), Conv(32, 32, 3, padding=1)), three)
    return ResidualBranches(branches, 96, 256, scale=0.17)


def _block17() -> ResidualBranches:
    long = nn.Sequential(
        Conv(896, 128, 1), Conv(128, 128, (1, 7), padding=(0, 3)), Conv(128, 128, (7, 1), padding=(3, 0))
    )
    return ResidualBranches((Conv(896, 128, 1), long), 256, 896, scale=0.10)


def _block8(*, scale: float = 0.20, is_last: bool = False) -> ResidualBranches:
    long = nn.Sequential(
        Conv(1792, 192, 1), Conv(192, 192, (1, 3), padding=(0, 1)), Conv(192, 192, (3, 1), padding=(1, 0))
    )
    return ResidualBranches((Conv(1792, 192, 1), long), 384, MAP_CHANNELS, scale=scale, is_last=is_last)


def _reduction_a() -> Branches:
    long = nn.Sequential(Conv(256, 192, 1), Conv(192, 192, 3, padding=1), Conv(192, 256, 3, stride=2))
    return Branches((Conv(256, 384, 3, stride=2), long, nn.MaxPool2d(3, stride=2)))


def _reduction_b() -> Branches:
    short = [nn.Sequential(Conv(896, 256, 1), Conv(256, channels, 3, stride=2)) for channels in (384, 256)]
    long = nn.Sequential(Conv(896, 256, 1), Conv(256, 256, 3, padding=1), Conv(256, 256, 3, stride=2))
    return Branches((*short, long, nn.MaxPool2d(3, stride=2)))


class InceptionResNetV1(Backbone):
    """Inception-ResNet-v1; its map is 3x3 for 160 pixels, and averaged.

    Args:
        embedding_dim: length of a feature vector; 512 in facenet's later models.
        image_size: side of the images in pixels, at least 75; 160 in facenet.
        in_channels: channels of the images.
        dropout: probability of dropping a value before the last linear layer, in [0, 1).

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, *, embedding_dim: int, image_size: int, in_channels: int, dropout: float) -> None:
        super().__init__(embedding_dim=embedding_dim, image_size=image_size)
        check_min_image_size(image_size, smallest=SMALLEST_IMAGE, name="inception_resnet_v1")
        self.conv2d_1a = Conv(in_channels, 32, 3, stride=2)
        self.conv2d_2a = Conv(32, 32, 3)
        self.conv2d_2b = Conv(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = Conv(64, 80, 1)
        self.conv2d_4a = Conv(80, 192, 3)
        self.conv2d_4b = Conv(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = _reduction_a()
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = _reduction_b()
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(scale=1.0, is_last=True)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(MAP_CHANNELS, embedding_dim, bias=False)
        self.last_bn = nn.BatchNorm1d(embedding_dim, eps=BN_EPS, momentum=BN_MOMENTUM)
        self._init_weights()

    def _init_weights(self) -> None:
        """facenet's: weights from a normal distribution cut off at two deviations, biases of zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """See `Backbone.forward`."""
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(images_BCHW))))
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.repeat_3(self.mixed_7a(self.repeat_2(self.mixed_6a(x))))
        x = self.dropout(self.block8(x).mean(dim=(2, 3)))
        features_BD: Tensor = self.last_bn(self.last_linear(x))
        return features_BD
