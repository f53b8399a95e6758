"""VGG with batch norm: with one linear layer for CIFAR, with three for larger images."""

from collections.abc import Callable, Iterator

from torch import nn

from tasks.networks.widths import scaled
from tasks.values.training import Network

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


def vgg_bn(depth: int) -> Callable[[Network], nn.Module]:
    """Return a builder of VGG with one linear layer (Simonyan and Zisserman 2015).

    It has 3 × 3 convolutions in five stages of 64 to 512 channels. A 2 × 2 max pooling stands
    between two stages while there is more than one pixel. The last stage is averaged over its
    pixels, as in OpenLTH (Synaptic-Flow takes their maximum). Depth 16 has 14,715,584 weights
    on CIFAR-10.
    """

    def build(network: Network) -> nn.Module:
        side = min(network.input_shape[1:])
        layers = list[nn.Module]()
        for stage, convolutions in enumerate(_stages(depth, network)):
            if stage and side > 1:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers += convolutions
        last = scaled(_CHANNELS[-1], network.width)
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, network.classes)
        )

    return build


def vgg_bn_three_linear(depth: int) -> Callable[[Network], nn.Module]:
    """Return a builder of VGG with pooling after each stage, three linear layers and dropout.

    It is Synaptic-Flow's VGG for Tiny ImageNet (Models/tinyimagenet_vgg.py): the hidden layers
    have half as many units as the last stage has values. Depth 16 has 18,060,992 weights.

    Raises
    ------
    ValueError
        When the builder is called for images below 32 × 32.
    """

    def build(network: Network) -> nn.Module:
        _, height, width = network.input_shape
        if min(height, width) < 32:
            raise ValueError(f"takes images of at least 32 x 32, not {height} x {width}")
        layers = list[nn.Module]()
        for convolutions in _stages(depth, network):
            layers += [*convolutions, nn.MaxPool2d(2)]
        values = scaled(_CHANNELS[-1], network.width) * (height // 32) * (width // 32)
        hidden = values // 2
        return nn.Sequential(
            *layers,
            nn.Flatten(),
            *(_linear(values, hidden), nn.ReLU(inplace=True), nn.Dropout()),
            *(_linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout()),
            _linear(hidden, network.classes),
        )

    return build


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.bias)
    return layer


def _stages(depth: int, network: Network) -> Iterator[list[nn.Module]]:
    """Yield the five stages of 3 × 3 convolutions, each with batch norm and ReLU."""
    channels = network.input_shape[0]
    for repeats, outputs in zip(_CONVOLUTIONS[depth], _CHANNELS, strict=True):
        layers = list[nn.Module]()
        for _ in range(repeats):
            wide = scaled(outputs, network.width)
            layers += [
                nn.Conv2d(channels, wide, 3, padding=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU(inplace=True),
            ]
            channels = wide
        yield layers
