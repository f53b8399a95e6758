"""VGG with batch norm in its CIFAR form: one linear layer after the convolutions."""

from collections.abc import Callable

from torch import nn

from tasks.networks.widths import scaled
from tasks.spec import Network

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


def vgg_bn(depth: int) -> Callable[[Network], nn.Module]:
    """3 × 3 convolutions in five stages of 64 to 512 channels (Simonyan and Zisserman 2015).

    Stages are separated by 2 × 2 max pooling while there is more than one pixel, and the
    last is averaged over its pixels, as in OpenLTH (Synaptic-Flow takes their maximum).
    14,715,584 weights at depth 16 on CIFAR-10.
    """

    def build(network: Network) -> nn.Module:
        channels, *sides = network.input_shape
        side, layers = min(sides), list[nn.Module]()
        for stage, repeats in enumerate(_CONVOLUTIONS[depth]):
            if stage and side > 1:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            for _ in range(repeats):
                outputs = scaled(_CHANNELS[stage], network.width)
                layers += [
                    nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(inplace=True),
                ]
                channels = outputs
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, network.classes)
        )

    return build
