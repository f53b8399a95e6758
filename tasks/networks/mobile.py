"""MobileNetV1 in its CIFAR form."""

from torch import nn

from tasks.networks.widths import scaled
from tasks.values.training import Network

_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5)
_LAST = ((1024, 2), (1024, 1))


def mobilenet_v1(network: Network) -> nn.Module:
    """Build thirteen depthwise-separable blocks (Howard et al. 2017, table 1).

    The stem has stride 1, so 32 × 32 images end at 2 × 2 and not at 1 × 1.
    """
    channels = scaled(32, network.width)
    layers = [*_conv(network.input_shape[0], channels, 3, 1, 1)]
    for outputs, stride in (*_BLOCKS, *_LAST):
        outputs_scaled = scaled(outputs, network.width)
        layers += _conv(channels, channels, 3, stride, channels)
        layers += _conv(channels, outputs_scaled, 1, 1, 1)
        channels = outputs_scaled
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, network.classes)
    )


def _conv(inputs: int, outputs: int, size: int, stride: int, groups: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
