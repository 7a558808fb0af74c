"""Layers as the Caffe prototxts of 2016 and 2017 have them: no normalisation, PReLU after every convolution."""

from torch import Tensor, nn

UNIT_INIT_STD = 0.01


def xavier_(layer: nn.Conv2d | nn.Linear) -> None:
    """Caffe's xavier filler, uniform with variance 1 / fan-in (torch's own counts fan-out too); biases of zero."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def conv_prelu(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0) -> nn.Sequential:
    """A convolution with bias, and a PReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)
    xavier_(conv)
    return nn.Sequential(conv, nn.PReLU(out_channels))


class PlainUnit(nn.Module):
    """conv3x3, PReLU, conv3x3, PReLU, plus the input; no biases, and weights of 0.01 at first: nearly the identity.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            nn.init.normal_(conv.weight, std=UNIT_INIT_STD)
            layers += [conv, nn.PReLU(channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        out: Tensor = x + self.layers(x)
        return out


def plain_units(channels: int, repeats: int) -> nn.Sequential:
    """So many units, one after the other."""
    return nn.Sequential(*(PlainUnit(channels) for _ in range(repeats)))
